"""Roots of a smooth function on an interval, each isolated for certain."""

from dataclasses import dataclass
from fractions import Fraction

from flint import arb, fmpq

from sugar_search.symbolic.certificates.exact import exact_value
from sugar_search.symbolic.certificates.order import NotResolved
from sugar_search.symbolic.certificates.smooth import Smooth, taylor_terms

__all__ = ["Point", "Roots", "roots"]

_MAX_EVALUATIONS = 1500
_NARROW = 2.0**-40
_SPLIT = 0.4873046875  # not one half: a root at a round number must not become the end of an interval


@dataclass(frozen=True)
class Point:
    """A point of the line: a narrow ball, and its exact value when it is rational and known."""

    ball: arb
    exact: fmpq | None = None

    @classmethod
    def at(cls, q: fmpq) -> "Point":
        """A rational point."""
        return cls(arb(q), q)

    def __lt__(self, other: "Point") -> bool:
        if self.exact is not None and other.exact is not None:
            return bool(self.exact < other.exact)
        return bool(self.ball < other.ball)


@dataclass(frozen=True)
class Roots:
    """All roots inside an interval by rising x, and the sign (1, -1) before, between and after them."""

    points: tuple[Point, ...]
    signs: tuple[int, ...]


def roots(smooth: Smooth, low: Point, high: Point) -> Roots:
    """The roots of a smooth function in the open interval, where each is simple.

    Raises:
        NotResolved: a root is not simple, too close to an end or to another root, or the function is too wild.
    """
    if smooth.linear is not None:
        return _linear(smooth.linear, low, high)
    if smooth.is_constant:
        constant = exact_value(smooth, fmpq(0)).sign
        if constant is None:
            raise NotResolved("the sign of a constant is not decided")
        return Roots((), (constant,))
    ends = [_sign_at(smooth, low), _sign_at(smooth, high)]
    found: list[tuple[int, Point | None, int]] = []  # sign before, root or None, sign after, by rising x
    stack = [(low.ball, high.ball, ends[0], ends[1])]
    used = 0
    while stack:
        a, b, left, right = stack.pop()
        used += 1
        if used > _MAX_EVALUATIONS:
            raise NotResolved("a condition needs too many subdivisions")
        whole = a.union(b)
        value, slope = _two(smooth, whole)
        if value > 0 or value < 0:
            sign = 1 if value > 0 else -1
            found.append((sign, None, sign))
            continue
        if slope > 0 or slope < 0:
            rising = 1 if slope > 0 else -1
            before, after = left if left is not None else 0, right if right is not None else 0
            # An exact zero at an end leaves the sign that the slope gives it inside.
            before, after = before or (rising if left == 0 else 0), after or (-rising if right == 0 else 0)
            if before and after:
                root = None if before == after else _refine(smooth, a, b, rising)
                found.append((before, root, after))
                continue
        middle = arb(float(a.mid()) + _SPLIT * (float(b.mid()) - float(a.mid())))
        if not (a < middle < b) or float(b.mid()) - float(a.mid()) < _NARROW * max(1.0, abs(float(middle))):
            raise NotResolved(f"a sign is not decided near x = {float(middle):.6g}")
        sign_middle = _sign(smooth.value(middle))
        stack.append((middle, b, sign_middle, right))
        stack.append((a, middle, left, sign_middle))
    return _chain(found)


def _chain(found: list[tuple[int, Point | None, int]]) -> Roots:
    points: list[Point] = []
    signs = [found[0][0]]
    for before, root, after in found:
        if before != signs[-1]:
            raise NotResolved("a sign is not decided between two intervals")
        if root is not None:
            points.append(root)
            signs.append(after)
    return Roots(tuple(points), tuple(signs))


def _linear(form: tuple[fmpq, fmpq], low: Point, high: Point) -> Roots:
    slope, offset = form
    if slope == 0:
        return Roots((), ((offset > 0) - (offset < 0),))
    rising = 1 if slope > 0 else -1
    root = Point.at(-offset / slope)
    for end in (low, high):
        if not (root < end or end < root or root.exact == end.exact):
            raise NotResolved("two break points are too close to tell apart")
    if low < root and root < high:
        return Roots((root,), (-rising, rising))
    return Roots((), (rising if not low < root else -rising,))


def _sign(value: arb) -> int | None:
    return 1 if value > 0 else -1 if value < 0 else None


def _sign_at(smooth: Smooth, point: Point) -> int | None:
    """The sign at a point; 0 if the function is exactly 0 there, None if unknown."""
    sign = _sign(smooth.value(point.ball))
    if sign is None and point.exact is not None and exact_value(smooth, point.exact).is_zero:
        return 0
    return sign


def _two(smooth: Smooth, x: arb) -> tuple[arb, arb]:
    """Value and slope on a ball; the value also by the slope, whichever is tighter."""
    with taylor_terms(2):
        series = smooth.series(x)
        value, slope = series[0], series[1]
    if not (value > 0 or value < 0) and slope.is_finite():
        middle = x.mid()
        centred = smooth.value(middle) + slope * (x - middle)
        if centred > 0 or centred < 0:
            return centred, slope
    return value, slope


def _refine(smooth: Smooth, a: arb, b: arb, rising: int) -> Point:
    """The only root of a monotone function between a and b, by bisection and Newton's interval steps."""
    box = a.union(b)
    for _ in range(100):
        middle = box.mid()
        value = smooth.value(middle)
        sign = _sign(value)
        half = box
        if sign is not None:
            half = box.lower().union(middle) if sign == rising else middle.union(box.upper())
        with taylor_terms(2):
            step = middle - value / smooth.series(box)[1]
        narrower = half.intersection(step) if step.is_finite() and step.overlaps(half) else half
        if narrower.rad() * 1.2 > box.rad():
            break
        box = narrower
    near = Fraction(float(box.mid())).limit_denominator(1000)
    q = fmpq(near.numerator, near.denominator)
    if box.contains(arb(q)) and exact_value(smooth, q).is_zero:
        return Point.at(q)
    return Point(box)
