"""What certificates are made of: verdicts, numbers enclosed between two floats, extrema, breaks and pieces."""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Any

__all__ = ["Break", "Enclosure", "Extremum", "Piece", "Status", "Verdict"]

_DIGITS = 7


class Status(StrEnum):
    """What is known of a property."""

    PROVEN = "proven"
    REFUTED = "refuted"
    UNPROVEN = "unproven"


@dataclass(frozen=True)
class Verdict:
    """A decision with its cause.

    Attributes:
        status: proven, refuted (with a witness) or unproven.
        reason: short category for counting, such as "pole" or "unbounded tail"; "" when proven.
        detail: one clause for the reader, such as "grows without bound as x -> -oo".
    """

    status: Status
    reason: str = ""
    detail: str = ""

    @property
    def proven(self) -> bool:
        """Whether the property holds for certain."""
        return self.status is Status.PROVEN


@dataclass(frozen=True)
class Enclosure:
    """A real number known to lie in [low, high]; both ends are rounded outwards."""

    low: float
    high: float

    @property
    def mid(self) -> float:
        """The middle, as a float."""
        return self.low if self.low == self.high else self.low + (self.high - self.low) / 2

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low

    def __contains__(self, value: object) -> bool:
        return bool(self.low <= value <= self.high)  # type: ignore[operator]

    def __str__(self) -> str:
        """The digits that are certain, at most 7; an interval when there is none."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return f"{self.low:g}" if self.low == self.high else f"[{self.low:g}, {self.high:g}]"
        for digits in range(_DIGITS, 1, -1):
            low, high = _rounded(self.low, digits), _rounded(self.high, digits)
            if low == high:
                return low
            # The border between two roundings may run through an interval far narrower than the last digit.
            if self.width <= 1e-3 * 10.0 ** (Decimal(self.mid).adjusted() - digits + 1):
                return _rounded(self.mid, digits)
        if max(abs(self.low), abs(self.high)) < 1e-9:
            return "0"
        return f"[{self.low:.3g}, {self.high:.3g}]"

    def to_list(self) -> list[float | None]:
        """The two ends; None stands for an infinity, which JSON lacks."""
        return [end if math.isfinite(end) else None for end in (self.low, self.high)]


def _rounded(value: float, digits: int) -> str:
    """`value` to significant digits, without trailing zeros."""
    if value == 0:
        return "0"
    exact = Decimal(value)
    unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    text = exact.quantize(unit, ROUND_HALF_EVEN)
    return f"{float(text):.{digits}g}"


@dataclass(frozen=True)
class Extremum:
    """A global minimum or maximum, attained or only approached.

    Attributes:
        value: the greatest lower (least upper) bound of g.
        at: where it is attained, or approached from one side of a jump; None if only a tail approaches it.
        tail: "-oo" or "+oo" if it is approached there, else "".
    """

    value: Enclosure
    at: Enclosure | None = None
    tail: str = ""


@dataclass(frozen=True)
class Break:
    """A point where g or g' jumps.

    Attributes:
        at: the point.
        kind: "jump" (of g) or "kink" (of g').
        left: limit of g from the left.
        right: limit of g from the right.
        value: g there.
    """

    at: Enclosure
    kind: str
    left: Enclosure
    right: Enclosure
    value: Enclosure


@dataclass(frozen=True)
class Piece:
    """An interval between two breaks (-inf and inf at the ends), and the largest |g'| inside; None if unproven."""

    low: float
    high: float
    lipschitz: Enclosure | None


def to_json(value: Any) -> Any:
    """Enclosures, extrema, breaks and pieces as lists and dicts that JSON can hold."""
    match value:
        case Enclosure():
            return value.to_list()
        case tuple() | list():
            return [to_json(item) for item in value]
        case Extremum() | Break() | Piece() | Verdict():
            return {name: to_json(item) for name, item in vars(value).items()}
        case float():
            return value if math.isfinite(value) else None
    return value
