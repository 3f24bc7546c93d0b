"""Errors a user can mend: each names the rule, the value that broke it, and the remedy.

Every error raised on bad input derives from `SugarError`. The command line prints `str(error)` on one line and exits
with code 2. Anything else that escapes is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "DivergedError",
    "FileError",
    "FormulaError",
    "InputError",
    "StudyError",
    "SugarError",
    "UnknownNameError",
    "shorten",
]


def shorten(value: object, limit: int = 80) -> str:
    """`repr(value)` cut to `limit` characters, so that a hostile value cannot flood the message."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


class SugarError(Exception):
    """Base of every error that names a rule, a value and a remedy."""


class InputError(SugarError, ValueError):
    """An argument broke a rule.

    Args:
        rule: what must hold, as a full clause ("--trials must be 0 or more").
        value: what was given; shown shortened.
        remedy: what to do ("give a whole number such as 20").
    """

    def __init__(self, rule: str, value: object, remedy: str) -> None:
        super().__init__(f"{rule}, got {shorten(value)}; {remedy}")
        self.rule, self.value, self.remedy = rule, value, remedy

    def __reduce__(self) -> tuple[type, tuple[str, object, str]]:
        # Exceptions cross process borders; the default would call __init__ with the joined message.
        return type(self), (self.rule, self.value, self.remedy)


class FormulaError(InputError):
    """Formula text broke a rule; the rule names the position.

    Attributes:
        reason: a short category ("pole", "max_gain"), for counting what a search space draws in vain.
    """

    reason = "inadmissible"

    def __reduce__(self) -> tuple[Any, ...]:
        return *super().__reduce__(), {"reason": self.reason}


class UnknownNameError(InputError):
    """A name is not in the catalog; the nearest names are shown."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> "UnknownNameError":
        """The error for `name` of `kind` ("arch", "surrogate", ...) when only `known` exist."""
        names = sorted(known)
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(near)}" if near else f"choose from {', '.join(names) or 'nothing: none exist'}"
        )
        return cls(f"{kind} must be a known name", name, hint)


class FileError(InputError):
    """A file or folder cannot be read, written, or does not follow its schema."""


class StudyError(InputError):
    """A study cannot be opened, is held by another process, or is another study."""


class DivergedError(SugarError, ArithmeticError):
    """Training produced a NaN or infinite loss.

    Args:
        epoch: 1-based epoch in which it happened.
        reason: what was seen.
    """

    def __init__(self, epoch: int, reason: str) -> None:
        super().__init__(f"diverged in epoch {epoch}: {reason}")
        self.epoch, self.reason = epoch, reason

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return type(self), (self.epoch, self.reason)
