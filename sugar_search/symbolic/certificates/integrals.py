"""Expectations of g under a standard normal pre-activation, with error bars: Gauss-Legendre on complex balls.

The integrand is analytic between the breaks, where `acb.integral` proves its own error. Beyond |x| = 12 the normal
weight is under 1e-32, so a bound of |g| settles the rest.
"""

from dataclasses import dataclass
from functools import lru_cache

from flint import acb, arb, ctx

from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.bounded import pieces_of
from sugar_search.symbolic.certificates.roots import Point
from sugar_search.symbolic.certificates.smooth import Smooth

__all__ = ["REACH", "Moments", "coarse_moments", "moments"]

REACH = 12
_TOLERANCE = 1e-11
_STEPS = 1200


@dataclass(frozen=True)
class Moments:
    """E[g(z)**2], E[g(z)] and E[|g(z)|; z < 0] as balls; None where the signs of g are unknown."""

    square: arb
    mean: arb
    negative_mass: arb | None


def moments(stretches: list[tuple[Smooth, Point, Point, int | None]], bound: arb) -> Moments:
    """The moments from smooth stretches (g there, ends, sign of g or None) that cover [-12, 12], 0 among the ends.

    Args:
        stretches: from left to right.
        bound: upper bound of |g| everywhere.
    """
    square, mean, mass = arb(0), arb(0), arb(0)
    known = True
    lost = _beyond()
    for smooth, left, right, sign in stretches:
        a, b = _clipped(left.ball), _clipped(right.ball)
        lost += left.ball.rad() + right.ball.rad()
        if not a < b or sign == 0:
            continue
        first = _integral(smooth, a, b, 1)
        square += _integral(smooth, a, b, 2)
        mean += first
        if a + b < 0:  # no stretch crosses 0 by more than the width of its end
            known = known and sign is not None
            mass += first if sign is None or sign > 0 else -first
    # What lies beyond the reach, and between the middle of a break's ball and the break.
    error = arb(0, (bound * lost).upper())
    error_square = arb(0, (bound * bound * lost).upper())
    return Moments(square + error_square, mean + error, mass + error if known else None)


def _clipped(x: arb) -> arb:
    middle = x.mid()
    return arb(-REACH) if middle < -REACH else arb(REACH) if middle > REACH else middle


def _beyond() -> arb:
    return (arb(REACH) / arb(2).sqrt()).erfc()


def _integral(smooth: Smooth, a: arb, b: arb, power: int) -> arb:
    weight = _weight(ctx.prec)

    def integrand(z: acb, analytic: bool) -> acb:
        g = smooth.complex(z, analytic)
        return (g if power == 1 else g * g) * (-(z * z) / 2).exp() * weight

    return acb.integral(
        integrand, acb(a), acb(b), abs_tol=arb(_TOLERANCE), rel_tol=arb(_TOLERANCE), eval_limit=4000, depth_limit=60
    ).real


@lru_cache(maxsize=8)
def _weight(prec: int) -> acb:
    return acb(1 / (2 * arb.pi()).sqrt())


def _distribution(x: arb) -> arb:
    return (x / arb(2).sqrt()).erf() / 2


def coarse_moments(program: Program, bound: arb) -> Moments:
    """The moments by enclosing g on many short intervals, whatever its conditions; about three digits."""
    square, mean, mass = arb(0), arb(0), arb(0)
    ends = [(a, b) for a, b in pieces_of(-REACH, REACH)]
    count = max(1, _STEPS // len(ends))
    for a, b in ends:
        step = (b - a) / count
        for i in range(count):
            low, high = a + i * step, a + (i + 1) * step
            ball = program.value(arb(low).union(arb(high)))
            if not ball.is_finite():
                ball = arb(0, bound.upper())
            weight = _distribution(arb(high)) - _distribution(arb(low))
            mean += ball * weight
            size = ball.abs_lower().union(ball.abs_upper())
            square += size * size * weight
            if b <= 0:
                mass += size * weight
    lost = _beyond()
    return Moments(
        square + arb(0, (bound * bound * lost).upper()),
        mean + arb(0, (bound * lost).upper()),
        mass + arb(0, (bound * lost).upper()),
    )
