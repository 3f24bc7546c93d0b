"""Suprema by branch and bound: of g and of g' on smooth pieces, with the place where they are attained.

An interval is settled when the function is monotone on it (an end is the supremum), convex (likewise), concave (a
Newton iteration finds the only maximum) or constant; else it is halved, the most promising one first.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nextafter

from flint import arb

from sugar_search.symbolic.certificates.smooth import Smooth, taylor_terms

__all__ = ["Supremum", "supremum_of"]

_MAX_EVALUATIONS = 2500
_NARROW = 2.0**-36
_ACCURACY = 1e-13


@dataclass(frozen=True)
class Supremum:
    """The least upper bound, and where the value closest to it was found.

    Attributes:
        low: a value that is exceeded or attained.
        high: an upper bound.
        at: a point, an interval on which the function is constant (`flat`), or an interval that could not be settled
            and holds the point. No other place is higher by more than high - low.
        flat: whether the function is constant there.
        piece: index of the piece.
    """

    low: arb
    high: arb
    at: arb | None = None
    flat: bool = False
    piece: int = -1


Enclosing = Callable[[arb], tuple[arb, arb, arb]]


def _function(smooth: Smooth, order: int, sign: int) -> Enclosing:
    """Value, slope and second derivative of sign*g (order 0) or of sign*g' (order 1) on a ball."""

    def g(x: arb) -> tuple[arb, arb, arb]:
        c = smooth.series(x)
        # A root of 0 has a value but no slope.
        return sign * (c[0] if c[0].is_finite() else smooth.value(x)), sign * c[1], 2 * sign * c[2]

    def slope(x: arb) -> tuple[arb, arb, arb]:
        c = smooth.series(x)
        return sign * c[1], 2 * sign * c[2], 6 * sign * c[3]

    return slope if order else g


class _Search:
    def __init__(self, floor: arb) -> None:
        self.best = Supremum(floor, floor)
        self.settled = floor  # upper bound over all settled parts
        self.certain: list[Supremum] = []  # the suprema of single parts, at known places
        self.open: list[tuple[arb, arb]] = []  # (upper bound, part) where the place is not known
        self.heap: list[tuple[float, int, arb, arb, int]] = []
        self.count = itertools.count()

    def found(self, value: arb, at: arb, piece: int, flat: bool = False, certain: bool = True) -> None:
        """A value that is attained, or approached at an end; certain if it is the supremum of some part."""
        if not value.is_finite():
            self.settled = arb("inf")
            return
        low = value.lower()
        # Of equal values the first is kept, unless a later one holds on a whole interval.
        if low > self.best.low or (low >= self.best.low and (self.best.piece < 0 or (flat and not self.best.flat))):
            self.best = Supremum(low, value.upper(), at, flat, piece)
        if certain and not value.upper() < self.best.low:
            self.certain.append(Supremum(low, value.upper(), at, flat, piece))
        if value.upper() > self.settled:
            self.settled = value.upper()

    def settle(self, upper: arb, whole: arb) -> None:
        """A part that is not divided any more."""
        self.settled = _larger(self.settled, upper)
        self.open.append((upper, whole))

    def result(self) -> Supremum:
        """The supremum over all parts, those still to be divided included."""
        while self.heap:
            key, _, a, b, _ = heapq.heappop(self.heap)
            self.settle(arb(-key) if key != -inf else arb("inf"), a.union(b))
        best, at = self.best, self.best.at
        if at is not None and not best.flat:
            certain = [c for c in self.certain if not c.high < best.low]
            if certain and not any(c.at is at for c in certain):  # one of a rounding error less, at a certain place
                best = max(certain, key=lambda c: c.low)
            at = _with_neighbours(best.at, [part for upper, part in self.open if not upper < self.best.low])
        return Supremum(self.best.low, self.settled, at, best.flat, best.piece)

    def push(self, upper: arb, a: arb, b: arb, piece: int) -> None:
        """A part still to be divided, unless it cannot hold the supremum."""
        if not upper <= self.best.low:
            key = -nextafter(float(upper), inf) if upper.is_finite() else -inf
            heapq.heappush(self.heap, (key, next(self.count), a, b, piece))


def supremum_of(
    pieces: list[tuple[Smooth, arb, arb]], order: int = 0, sign: int = 1, floor: arb | None = None
) -> Supremum:
    """The supremum of sign*g (order 0) or sign*g' (order 1) over closed pieces (smooth, low end, high end).

    Args:
        pieces: where to look.
        order: 0 for g, 1 for its derivative.
        sign: -1 for the infimum, told with its sign turned.
        floor: a value known to be reached elsewhere; parts under it are not looked at.
    """
    with taylor_terms(3 + order):
        return _supremum(pieces, order, sign, floor)


def _supremum(pieces: list[tuple[Smooth, arb, arb]], order: int, sign: int, floor: arb | None) -> Supremum:
    search = _Search(arb("-inf") if floor is None else floor)
    functions = [_function(smooth, order, sign) for smooth, _, _ in pieces]
    for index, (_, a, b) in enumerate(pieces):
        for x in (a, b):
            value = functions[index](x)[0]
            if value.is_finite():
                search.found(value, x, index)
        search.push(arb("inf"), a, b, index)
    used = 0
    while search.heap and used < _MAX_EVALUATIONS:
        key, _, a, b, index = heapq.heappop(search.heap)
        if key != -inf and arb(-key) - search.best.low <= _ACCURACY * (1 + abs(search.best.low)):
            search.settle(arb(-key).upper(), a.union(b))
            break
        used += 1
        _divide(search, functions[index], a, b, index)
    return search.result()


def _with_neighbours(place: arb | None, parts: list[arb]) -> arb | None:
    """The hull of a place and the parts that join it without a gap."""
    if place is not None:
        start = place.mid()
        for part in sorted(parts, key=lambda ball: abs(ball.mid() - start)):
            if place.overlaps(part):
                place = place.union(part)
    return place


def _larger(a: arb, b: arb) -> arb:
    return b if b > a else a


def _divide(search: _Search, f: Enclosing, a: arb, b: arb, piece: int) -> None:
    whole = a.union(b)
    value, slope, bend = f(whole)
    if slope.is_zero() and value.is_finite():
        search.found(f(whole.mid())[0], whole, piece, flat=True)
        return
    if slope >= 0 or slope <= 0:
        end = b if slope >= 0 else a
        search.found(f(end)[0], end, piece)
        return
    middle = whole.mid()
    if bend.is_finite():
        at, tilt, _ = f(middle)
        step = whole - middle
        for tighter in (at + slope * step, at + tilt * step + bend * _squared(step) / 2):
            if tighter.is_finite() and not tighter.upper() > value.upper():
                value = tighter
        if bend < 0 and (top := _newton(f, a, b)) is not None:
            search.found(f(top)[0], top, piece)
            return
        if bend > 0:
            for end in (a, b):
                search.found(f(end)[0], end, piece)
            return
        if at.lower() > search.best.low:
            search.found(at, middle, piece, certain=False)
    low, high = float(a.mid()), float(b.mid())
    centre = arb(low + (high - low) / 2)
    if high - low < _NARROW * max(1.0, abs(low)) or not (a < centre < b):
        if not value.upper() <= search.best.low:
            search.settle(value.upper() if value.is_finite() else arb("inf"), whole)
        return
    upper = value.upper() if value.is_finite() else arb("inf")
    search.push(upper, a, centre, piece)
    search.push(upper, centre, b, piece)


def _squared(step: arb) -> arb:
    top = step.abs_upper()
    return arb(0).union(top * top)


def _newton(f: Enclosing, a: arb, b: arb) -> arb | None:
    """The only maximum of a concave function between a and b: an end, or the root of the slope."""
    left, right = f(a)[1], f(b)[1]
    if left <= 0:
        return a
    if right >= 0:
        return b
    if not (left.is_finite() and right.is_finite()):
        return None
    box = a.union(b)
    for _ in range(100):
        middle = box.mid()
        tilt, bend = f(middle)[1], f(box)[2]
        half = box
        if tilt > 0 or tilt < 0:
            half = middle.union(box.upper()) if tilt > 0 else box.lower().union(middle)
        step = middle - tilt / bend
        narrower = half.intersection(step) if step.is_finite() and step.overlaps(half) else half
        if narrower.rad() * 1.2 > box.rad():
            break
        box = narrower
    # Where the slope at an end is not told from 0 the end itself may be the maximum.
    if not left > 0:
        box = box.union(a)
    if not right < 0:
        box = box.union(b)
    return box if box.rad() < _NARROW * (1 + abs(middle)) or (left > 0 and right < 0) else None
