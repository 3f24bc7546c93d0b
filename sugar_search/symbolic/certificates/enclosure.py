"""What certificates are made of: verdicts, numbers enclosed between two floats, extrema, breaks and pieces."""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
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
        """The digits that are certain, at most 7; an interval with its ends rounded outwards when there is none."""
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        if not finite and self.low == self.high:
            return f"{self.low:g}"
        for digits in range(_DIGITS, 1, -1) if finite else ():
            low, high = _rounded(self.low, digits), _rounded(self.high, digits)
            if low == high:
                return low
            # The border between two roundings may run through an interval far narrower than the last digit.
            if self.width <= 1e-3 * 10.0 ** (Decimal(self.mid).adjusted() - digits + 1):
                return _rounded(self.mid, digits)
        if 0 in self and max(abs(self.low), abs(self.high)) < 1e-9:
            return "0"
        return f"[{_rounded(self.low, 3, ROUND_FLOOR)}, {_rounded(self.high, 3, ROUND_CEILING)}]"

    def to_list(self) -> list[float | None]:
        """The two ends; None stands for an infinity, which JSON lacks."""
        return [end if math.isfinite(end) else None for end in (self.low, self.high)]


def _rounded(value: float, digits: int, direction: str = ROUND_HALF_EVEN) -> str:
    """`value` to significant digits, without trailing zeros."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}" if value else "0"
    exact = Decimal(value) if direction == ROUND_HALF_EVEN else Decimal(repr(value))  # a float is what it prints as
    unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    text = exact.quantize(unit, direction)
    return f"{float(text):.{digits}g}"


@dataclass(frozen=True)
class Extremum:
    """A global minimum or maximum, attained or only approached.

    Attributes:
        value: the greatest lower (least upper) bound of g.
        at: a point, or the interval of a plateau, where it is attained or approached from one side of a jump; or a
            narrow interval that holds such a point. No other place is better by more than the width of `value`. None if
            it is found only in a tail, or the place is not known.
        tail: "-oo" or "+oo" if it is found only in that tail, else "".
    """

    value: Enclosure
    at: Enclosure | None = None
    tail: str = ""


@dataclass(frozen=True)
class Break:
    """A point where the formula changes branch, or a root reaches 0.

    Attributes:
        at: the point.
        kind: "jump" where g is proven to jump; else "kink": g' may jump, or only a higher derivative, as for
            where(x > 0, x**2*exp(-x), 0), or g by less than can be seen.
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
