"""The asymptotic rule of each primitive: what it makes of an asymptotic value.

A rule gets the arithmetic of the tail and the arguments. Functions with a limit at infinity are composed of exp and
powers there; at a finite limit all of them use Taylor's formula with a proven rest.
"""

from collections.abc import Callable

from flint import arb, fmpq
from sympy import S, pi, sqrt

from sugar_search.symbolic.certificates.asymptotic import Growth, Rules
from sugar_search.symbolic.certificates.enclosing import TAYLOR
from sugar_search.symbolic.certificates.expansions import exponential, log_order, taylor
from sugar_search.symbolic.certificates.order import ONE, NotResolved, TryLarger, coefficient

__all__ = ["RULES"]

_HALF = fmpq(1, 2)
# The first three Taylor coefficients at 0, where they are rational.
_AT_ZERO: dict[str, tuple[fmpq, ...]] = {
    "sigmoid": (_HALF, fmpq(1, 4), fmpq(0)),
    "tanh": (fmpq(0), fmpq(1), fmpq(0)),
    "log1p": (fmpq(0), fmpq(1), -_HALF),
    "atan": (fmpq(0), fmpq(1), fmpq(0)),
}


def _near(r: Rules, name: str, u: Growth) -> Growth:
    return taylor(r, u, TAYLOR[name], _AT_ZERO.get(name))


def _grows(r: Rules, u: Growth) -> int:
    """0 if u has a finite limit or is bounded, else the sign of its growth."""
    growing, _, _ = r.split(u)
    if not growing.terms:
        return 0
    sign = r.sign(u)
    if sign is None:
        raise TryLarger("the sign of a growing argument is not known")
    return sign


def _one_plus(r: Rules, u: Growth) -> Growth:
    return r.add(r.constant(coefficient(1)), u)


def sigmoid(r: Rules, u: Growth) -> Growth:
    """1/(1 + exp(-u)), or exp(u)/(1 + exp(u)) where u falls."""
    grows = _grows(r, u)
    if not grows:
        return _near(r, "sigmoid", u)
    if grows > 0:
        return r.power(_one_plus(r, exponential(r, r.negative(u))), fmpq(-1))
    small = exponential(r, u)
    return r.multiply(small, r.power(_one_plus(r, small), fmpq(-1)))


def tanh(r: Rules, u: Growth) -> Growth:
    """1 - 2*exp(-2u)/(1 + exp(-2u)) where u grows; odd."""
    grows = _grows(r, u)
    if not grows:
        return _near(r, "tanh", u)
    if grows < 0:
        return r.negative(tanh(r, r.negative(u)))
    small = exponential(r, r.scaled(u, coefficient(-2)))
    rest = r.multiply(small, r.power(_one_plus(r, small), fmpq(-1)))
    return _one_plus(r, r.scaled(rest, coefficient(-2)))


def softplus(r: Rules, u: Growth) -> Growth:
    """u + log1p(exp(-u)) where u grows, log1p(exp(u)) where it falls."""
    grows = _grows(r, u)
    if not grows:
        return _near(r, "softplus", u)
    if grows > 0:
        return r.add(u, log1p(r, exponential(r, r.negative(u))))
    return log1p(r, exponential(r, u))


def log1p(r: Rules, u: Growth) -> Growth:
    """The logarithm of the leading term and log1p of the relative rest."""
    grows = _grows(r, u)
    if not grows:
        return _near(r, "log1p", u)
    if grows < 0:
        raise NotResolved("a logarithm of a negative number")
    whole = _one_plus(r, u)
    order, c = whole.terms[0]
    if order.l != 0:
        raise NotResolved("a logarithm of a logarithm")
    total = r.constant(coefficient(0) if c.rational == 1 else type(c)(c.ball.log(), None))
    total = r.add(total, log_order(r, order))
    eta, most = r.relative(whole)
    if not most < 0.9:
        raise TryLarger("the leading term does not yet dominate")
    return r.add(total, taylor(r, eta, TAYLOR["log1p"], _AT_ZERO["log1p"]))


def _erfc_over(r: Rules, square: Growth, u: Growth, scale: object) -> Growth:
    """exp(-square)/u*scale*(1 - theta/(2*square)) with theta in [0, 1], for a growing u."""
    lead = r.scaled(r.multiply(exponential(r, r.negative(square)), r.power(u, fmpq(-1))), coefficient(scale))
    order, bound = r.size(r.scaled(r.power(square, fmpq(-1)), coefficient(_HALF)))
    return r.multiply(lead, _one_plus(r, r.bounded(order, bound)))


def erf(r: Rules, u: Growth) -> Growth:
    """1 - erfc(u) where u grows, with erfc(v) = exp(-v*v)/(v*sqrt(pi))*(1 - theta/(2*v*v)); odd."""
    grows = _grows(r, u)
    if not grows:
        return _near(r, "erf", u)
    if grows < 0:
        return r.negative(erf(r, r.negative(u)))
    rest = _erfc_over(r, r.multiply(u, u), u, 1 / sqrt(pi))
    return _one_plus(r, r.negative(rest))


def normal_cdf(r: Rules, u: Growth) -> Growth:
    """erfc(-u/sqrt(2))/2."""
    grows = _grows(r, u)
    if not grows:
        return _near(r, "normal_cdf", u)
    away = u if grows > 0 else r.negative(u)
    half_square = r.scaled(r.multiply(u, u), coefficient(_HALF))
    rest = _erfc_over(r, half_square, away, 1 / sqrt(2 * pi))
    return rest if grows < 0 else _one_plus(r, r.negative(rest))


def normal_pdf(r: Rules, u: Growth) -> Growth:
    """exp(-u*u/2)/sqrt(2*pi)."""
    half_square = r.scaled(r.multiply(u, u), coefficient(-_HALF))
    return r.scaled(exponential(r, half_square), coefficient(1 / sqrt(2 * pi)))


def atan(r: Rules, u: Growth) -> Growth:
    """pi/2 - atan(1/u) where u grows; odd."""
    grows = _grows(r, u)
    if not grows:
        return _near(r, "atan", u)
    inner = r.negative(_near(r, "atan", r.power(u, fmpq(-1))))
    return r.add(r.constant(coefficient(pi / 2 if grows > 0 else -pi / 2)), inner)


def absolute(r: Rules, u: Growth) -> Growth:
    """|u|, by the sign of the leading term."""
    sign = r.sign(u)
    if sign is None:
        return r.bounded(*r.size(u))
    return u if sign >= 0 else r.negative(u)


def signum(r: Rules, u: Growth) -> Growth:
    """The sign of the leading term."""
    sign = r.sign(u)
    if sign is None:
        return r.constant(coefficient(0)) if u.is_zero else Growth((), (ONE, arb(1)))
    return r.constant(coefficient(S(sign)))


def either(r: Rules, u: Growth, v: Growth) -> Growth:
    """One of the two, at each t: u and a rest of the size of v - u."""
    gap = r.subtract(v, u)
    return u if gap.is_zero else r.add(u, r.bounded(*r.size(gap)))


def maximum(r: Rules, u: Growth, v: Growth) -> Growth:
    """The larger one."""
    sign = r.sign(r.subtract(u, v))
    return either(r, u, v) if sign is None else u if sign >= 0 else v


def minimum(r: Rules, u: Growth, v: Growth) -> Growth:
    """The smaller one."""
    return r.negative(maximum(r, r.negative(u), r.negative(v)))


def square(r: Rules, u: Growth) -> Growth:
    """u*u."""
    return r.multiply(u, u)


def reciprocal(r: Rules, u: Growth) -> Growth:
    """1/u."""
    return r.power(u, fmpq(-1))


RULES: dict[str, Callable[..., Growth]] = {
    "exp": exponential,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": softplus,
    "log1p": log1p,
    "erf": erf,
    "normal_cdf": normal_cdf,
    "normal_pdf": normal_pdf,
    "atan": atan,
    "sqrt": lambda r, u: r.power(u, _HALF),
    "abs": absolute,
    "sign": signum,
    "min": minimum,
    "max": maximum,
    "square": square,
    "recip": reciprocal,
    "where": either,
}
