"""Where g or g' jumps: the line is cut at every root of every condition, until each piece is smooth.

Conditions are taken in the order of the tape, so that what one compares is already smooth on each piece. Their signs
beyond the tails' radii come from the asymptotic rules.
"""

from dataclasses import dataclass, field

from flint import arb, fmpq

from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.enclosure import Break, Enclosure
from sugar_search.symbolic.certificates.exact import exact_value
from sugar_search.symbolic.certificates.order import Coefficient, NotResolved
from sugar_search.symbolic.certificates.roots import Point, roots
from sugar_search.symbolic.certificates.smooth import Smooth
from sugar_search.symbolic.certificates.tail import Tail

__all__ = ["Region", "breaks", "enclosed", "regions"]

_MAX_REGIONS = 64


@dataclass(frozen=True)
class Region:
    """An open interval on which g is smooth.

    Attributes:
        low: left end.
        high: right end.
        first: whether it goes on to -oo; then `low` is where the left tail begins.
        last: whether it goes on to +oo; then `high` is where the right tail begins.
        signs: the sign of each condition that matters.
        smooth: g here.
        zero_low: conditions whose difference has its root at `low`, with that difference.
        zero_high: likewise at `high`.
        root_low: whether a root may have a kink at `low`, without a condition.
        root_high: likewise at `high`.
    """

    low: Point
    high: Point
    first: bool
    last: bool
    signs: dict[int, int]
    smooth: Smooth
    zero_low: dict[int, Smooth] = field(default_factory=dict)
    zero_high: dict[int, Smooth] = field(default_factory=dict)
    root_low: bool = False
    root_high: bool = False


def enclosed(ball: arb) -> Enclosure:
    """A ball between two floats, rounded outwards."""
    from math import inf, nextafter

    if not ball.is_finite():
        return Enclosure(-inf, inf)
    low, high = ball.lower(), ball.upper()
    a, b = float(low), float(high)
    return Enclosure(a if arb(a) <= low else nextafter(a, -inf), b if arb(b) >= high else nextafter(b, inf))


def regions(program: Program, tails: tuple[Tail, Tail]) -> list[Region]:
    """The smooth pieces of g, from left to right.

    Raises:
        NotResolved: a condition's sign or root is not decided somewhere.
    """
    left, right = (Point.at(fmpq(t.side * t.radius)) for t in tails)
    none: dict[int, Smooth] = {}
    no_signs: dict[int, int] = {}
    waiting = [(left, right, True, True, no_signs, none, none)]
    done: list[Region] = []
    while waiting:
        low, high, first, last, signs, zero_low, zero_high = waiting.pop()
        smooth = program.specialise(signs)
        if not smooth.waiting:
            done.append(Region(low, high, first, last, signs, smooth, zero_low, zero_high))
            continue
        condition = smooth.waiting[0]
        difference = program.difference(condition, signs)
        found = roots(difference, low, high)
        _check_tails(found.signs, condition, tails, first, last)
        if len(done) + len(waiting) + len(found.points) > _MAX_REGIONS:
            raise NotResolved("more break points than are told apart")
        cuts = [low, *found.points, high]
        parts = []
        for index, sign in enumerate(found.signs):
            is_first, is_last = index == 0, index == len(found.points)
            here = {condition: difference}
            parts.append(
                (
                    cuts[index],
                    cuts[index + 1],
                    first and is_first,
                    last and is_last,
                    {**signs, condition: sign},
                    zero_low if is_first else here,
                    zero_high if is_last else here,
                )
            )
        waiting.extend(reversed(parts))
    return done


def _check_tails(signs: tuple[int, ...], condition: int, tails: tuple[Tail, Tail], first: bool, last: bool) -> None:
    for outer, sign, tail in ((first, signs[0], tails[0]), (last, signs[-1], tails[1])):
        if outer and tail.signs.get(condition) != sign:
            raise NotResolved(f"a condition is not decided as x -> {tail.name}")


def breaks(program: Program, pieces: list[Region]) -> tuple[list[Region], list[Break]]:
    """The pieces without cuts that change nothing, and the breaks between them."""
    kept = [pieces[0]]
    found: list[Break] = []
    for piece in pieces[1:]:
        before = kept[-1]
        here = _signs_at(program, before, piece)
        at = program.specialise(here) if here is not None else None
        rooted = before.root_high or piece.root_low
        if at is not None and not (rooted or at.waiting) and before.smooth.code == piece.smooth.code == at.code:
            # Only what holds on both sides holds on the whole: abs(x) may change where its branch does not matter.
            both = {c: sign for c, sign in before.signs.items() if piece.signs.get(c) == sign}
            ends = before.low, piece.high, before.first, piece.last
            zeros = before.zero_low, piece.zero_high
            kept[-1] = Region(*ends, both, before.smooth, *zeros, before.root_low, piece.root_high)
            continue
        kept.append(piece)
        found.append(_break(piece.low, before.smooth, piece.smooth, at))
    return kept, found


def _signs_at(program: Program, before: Region, after: Region) -> dict[int, int] | None:
    """The signs of the conditions at the point between two pieces; None if one is not decided."""
    point = after.low
    signs: dict[int, int] = {}
    while (smooth := program.specialise(signs)).waiting:
        condition = smooth.waiting[0]
        difference = program.difference(condition, signs)
        value = exact_value(difference, point.exact) if point.exact is not None else None
        ball = value.ball if value is not None else difference.value(point.ball)
        isolated = [zero[condition].code for zero in (before.zero_high, after.zero_low) if condition in zero]
        if (value is not None and value.is_zero) or difference.code in isolated:
            signs[condition] = 0
        elif ball > 0 or ball < 0:
            signs[condition] = 1 if ball > 0 else -1
        else:
            return None
    return signs


def _at(smooth: Smooth, point: Point) -> Coefficient:
    if point.exact is not None:
        return exact_value(smooth, point.exact)
    return Coefficient(smooth.value(point.ball), None)


def _break(point: Point, before: Smooth, after: Smooth, at: Smooth | None) -> Break:
    left, right = _at(before, point), _at(after, point)
    value = _at(at, point) if at is not None and not at.waiting else None
    ball = arb("nan") if value is None else value.ball
    apart = [left - right] + ([left - value] if value is not None else [])
    kind = "jump" if any(gap.sign not in (0, None) for gap in apart) else "kink"
    return Break(enclosed(point.ball), kind, enclosed(left.ball), enclosed(right.ball), enclosed(ball))
