"""What reading code for functional activation calls gives: places, calls, and the state of one walk."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import nn

__all__ = ["NOWHERE", "Call", "Reading", "Where"]


class Where(NamedTuple):
    """A place in code: what runs there ("Net.forward"), its file, the line, and the offset that tells twins apart."""

    name: str
    file: str
    line: int
    offset: int


NOWHERE = Where("", "", 0, 0)


@dataclass(frozen=True)
class Call:
    """One functional call.

    Attributes:
        kind: a key of `KINDS`.
        where: the code that makes it.
        scripted: whether it lies in a TorchScript function, where it cannot be intercepted.
        builds: whether it makes an activation module, as `nn.ReLU()(x)` does; what only a constructor runs calls none.
    """

    kind: str
    where: Where
    scripted: bool = False
    builds: bool = False

    @property
    def place(self) -> str:
        """The form for messages: "Net.forward (net.py:12)"."""
        return f"{self.where.name} ({Path(self.where.file).name}:{self.where.line})"


@dataclass
class Reading:
    """What one walk has met so far.

    Attributes:
        module: whose code is read, or None.
        mro: its class and that class's bases.
        found: the calls.
        methods: the names of the module's own methods that are used.
        registered: every module of the model; each is looked at by itself.
        hands_out: whether a call may run only after the code that names it: it returns or passes on a function.
        visited: functions that were read, with their objects.
    """

    module: nn.Module | None
    mro: tuple[type, ...]
    registered: frozenset[nn.Module] = frozenset()
    hands_out: bool = False
    found: dict[tuple[str, Where], Call] = field(default_factory=dict)
    methods: set[str] = field(default_factory=set)
    visited: set[tuple[int, int]] = field(default_factory=set)
