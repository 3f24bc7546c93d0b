"""Search spaces: TOML files that say what may be proposed.

A space draws a surrogate by asking a `Chooser` for one named value after another (define by run). The distribution
behind a name never changes, so TPE and random sampling work as they are.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, ValidationInfo, field_validator

from sugar_search import catalog
from sugar_search.errors import FileError, FormulaError, InputError
from sugar_search.schema import load_schema
from sugar_search.search.space_families import FamiliesSpace
from sugar_search.search.space_grammar import GrammarSpace
from sugar_search.search.space_table import SpaceTable
from sugar_search.symbolic.certificates.admission import refusal
from sugar_search.symbolic.grammar.grammar import Chooser
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["Refused", "Space", "load_space"]


class Refused(FormulaError):
    """A surrogate that is not proven to obey what a space admits.

    Args:
        reason: the rule's name, or a short category such as "pole"; for counting.
        detail: one clause for the user.
        text: the derivative.
    """

    def __init__(self, reason: str, detail: str, text: str) -> None:
        super().__init__(f"a surrogate must be proven to obey [admit] ({detail})", text, "change [admit] or the space")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.reason, self.detail, str(self.value))


class MixedSpace(SpaceTable):
    """Several spaces: one is chosen, then it draws."""

    kind: Literal["mixed"]
    spaces: tuple[str, ...] = Field(min_length=2)

    @field_validator("spaces")
    @classmethod
    def _exist(cls, spaces: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if len(set(spaces)) < len(spaces):
            raise ValueError("spaces must not name one twice")
        for name in spaces:
            try:
                if isinstance(_parts(name), MixedSpace):
                    raise ValueError(f"{name} is itself a mixed space; name its parts")
            except InputError as error:
                raise ValueError(str(error)) from None
        return spaces

    def draw(self, choose: Chooser) -> Surrogate:
        """One surrogate from the chosen space, which that space admits.

        Raises:
            Refused: that space does not admit it.
            FormulaError: it is not admissible anywhere.
        """
        name = choose.categorical("space", self.spaces)
        return _admitted(_parts(name), _Prefixed(choose, self._prefix(name)))

    def choices(self, wanted: Surrogate) -> dict[str, Any] | None:
        """The choices of the first part that holds `wanted`."""
        for name in self.spaces:
            if (found := _choices(_parts(name), wanted)) is not None:
                return {"space": name} | {self._prefix(name) + key: value for key, value in found.items()}
        return None

    def _prefix(self, name: str) -> str:
        """Two spaces of one kind would ask for different things by one name: the later ones say whose it is."""
        first = next(other for other in self.spaces if _parts(other).kind == _parts(name).kind)
        return "" if name == first else f"{name}."


class _Prefixed:
    """A chooser whose names carry a prefix."""

    def __init__(self, choose: Chooser, prefix: str) -> None:
        self.choose, self.prefix = choose, prefix

    def categorical(self, name: str, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        return self.choose.categorical(self.prefix + name, options, weights)

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        return self.choose.float(self.prefix + name, low, high, log)


AnySpace = FamiliesSpace | GrammarSpace | MixedSpace


class _File(RootModel[Annotated[AnySpace, Field(discriminator="kind")]]):
    """Any space, told apart by its `kind`."""


def _admitted(content: AnySpace, choose: Chooser) -> Surrogate:
    """What `content` draws, if it admits it."""
    drawn = content.draw(choose)
    verdict = refusal(drawn.tape, content.admit.rules)
    if verdict is not None:
        raise Refused(verdict.reason, verdict.detail, drawn.text)
    return drawn


def _choices(content: AnySpace, wanted: Surrogate) -> dict[str, Any] | None:
    """The choices that lead to `wanted`, or None when `content` lacks it or does not admit it."""
    found = content.choices(wanted)
    return found if found is not None and refusal(wanted.tape, content.admit.rules) is None else None


class Space:
    """A named space: what the file says, and a digest that identifies it in a study."""

    def __init__(self, name: str, content: AnySpace) -> None:
        self.name, self.content = name, content
        parts: list[AnySpace] = [content]
        if isinstance(content, MixedSpace):
            parts += [_parts(part) for part in content.spaces]
        # Unsorted: the order of families is the order of a choice's options, which a study keeps.
        text = json.dumps([part.model_dump(mode="json", exclude={"description"}) for part in parts])
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]

    def draw(self, choose: Chooser) -> Surrogate:
        """One surrogate that the space admits; in a mixed space, the part it comes from admits it too.

        Raises:
            Refused: it is not proven to obey the space's rules; `reason` says which.
            FormulaError: what was drawn cannot be a surrogate at all (not finite, or zero everywhere).
        """
        return _admitted(self.content, choose)

    def choices(self, wanted: Surrogate) -> dict[str, Any] | None:
        """The choices that lead to `wanted`, or None; they let a sampler learn from a baseline."""
        return _choices(self.content, wanted)


@cache
def _parts(name: str) -> AnySpace:
    return load_schema(catalog.find("spaces")[catalog.resolve("spaces", name)], _File).root


def load_space(name_or_path: str) -> Space:
    """A shipped space by name, or a TOML file by path (anything that ends in .toml).

    Raises:
        UnknownNameError: no shipped space has that name.
        FileError: the file cannot be read or breaks the schema; all faults are listed.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise FileError("--space must be a known name or an existing file", name_or_path, "check the path")
        return Space(path.stem, load_schema(path, _File).root)
    name = catalog.resolve("spaces", name_or_path)
    return Space(name, _parts(name))
