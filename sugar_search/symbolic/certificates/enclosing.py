"""The primitives in ball arithmetic: enclosures over real intervals, Taylor coefficients there, and complex values.

Every real form is total: where the function is not defined on the whole ball the result is not finite. Monotone
functions are enclosed by their values at the two ends, so that wide balls stay tight.
"""

from collections.abc import Callable
from typing import Any

from flint import acb, arb, fmpq

__all__ = ["COMPLEX", "REAL", "TAYLOR", "ball_power", "complex_power", "taylor_power"]


def _monotone(function: Callable[[arb], arb]) -> Callable[[arb], arb]:
    """The enclosure of a monotone function."""

    def hull(u: arb) -> arb:
        if u.is_exact():
            return function(u)
        return function(u.lower()).union(function(u.upper())) if u.is_finite() else u - u

    return hull


def _of_size(function: Callable[[arb], arb]) -> Callable[[arb], arb]:
    """The enclosure of an even function that is monotone in |u|."""

    def hull(u: arb) -> arb:
        if u.is_exact():
            return function(u)
        return function(u.abs_lower()).union(function(u.abs_upper())) if u.is_finite() else u - u

    return hull


def _sigmoid_point(u: arb) -> arb:
    return 1 / (1 + (-u).exp())


def _slope_point(u: arb) -> arb:
    e = (-abs(u)).exp()
    return e / (1 + e) ** 2


def _softplus_point(u: arb) -> arb:
    tail = (-abs(u)).exp().log1p()
    return u + tail if u > 0 else tail


def _pdf_point(u: arb) -> arb:
    return (-(u * u) / 2).exp() / (2 * arb.pi()).sqrt()


def _cdf_point(u: arb) -> arb:
    return (-u / arb(2).sqrt()).erfc() / 2


sigmoid = _monotone(_sigmoid_point)
_sigmoid_slope = _of_size(_slope_point)
softplus = _monotone(_softplus_point)
normal_pdf = _of_size(_pdf_point)
normal_cdf = _monotone(_cdf_point)
square = _of_size(lambda u: u * u)
_root = _monotone(arb.sqrt)


def sign(u: arb) -> arb:
    """-1, 0, 1 or their hull."""
    return u.sgn() if u.is_finite() else u - u


def absolute(u: arb) -> arb:
    """|u|."""
    return u.abs_lower().union(u.abs_upper()) if u.is_finite() else u - u


def minimum(a: arb, b: arb) -> arb:
    """The smaller one."""
    return a.min(b)


def maximum(a: arb, b: arb) -> arb:
    """The larger one."""
    return a.max(b)


def reciprocal(u: arb) -> arb:
    """1/u; not finite when u may be 0."""
    return 1 / u if u > 0 or u < 0 else u * arb("nan")


REAL: dict[str, Callable[..., arb]] = {
    "exp": arb.exp,
    "sigmoid": sigmoid,
    "tanh": _monotone(arb.tanh),
    "softplus": softplus,
    "log1p": _monotone(arb.log1p),
    "erf": _monotone(arb.erf),
    "normal_cdf": normal_cdf,
    "normal_pdf": normal_pdf,
    "atan": _monotone(arb.atan),
    "sqrt": _root,
    "abs": absolute,
    "sign": sign,
    "min": minimum,
    "max": maximum,
    "square": square,
    "recip": reciprocal,
}


# Taylor coefficients (value, first, second/2, third/6 derivative) enclosed on a ball.
Coefficients = tuple[arb, arb, arb, arb]


def _t_exp(u: arb) -> Coefficients:
    e = u.exp()
    return e, e, e / 2, e / 6


def _t_sigmoid(u: arb) -> Coefficients:
    s, d = sigmoid(u), _sigmoid_slope(u)
    return s, d, d * (1 - 2 * s) / 2, d * (1 - 6 * d) / 6


def _t_tanh(u: arb) -> Coefficients:
    t, d = REAL["tanh"](u), 4 * _sigmoid_slope(2 * u)
    return t, d, -t * d, d * (4 - 6 * d) / 6


def _t_softplus(u: arb) -> Coefficients:
    s, d, half, _ = _t_sigmoid(u)
    return softplus(u), s, d / 2, half / 3


def _t_log1p(u: arb) -> Coefficients:
    r = reciprocal(1 + u)
    return REAL["log1p"](u), r, -r * r / 2, r * r * r / 3


def _t_erf(u: arb) -> Coefficients:
    d, s = 2 * (-square(u)).exp() / arb.pi().sqrt(), square(u)
    return REAL["erf"](u), d, -u * d, d * (4 * s - 2) / 6


def _t_normal_cdf(u: arb) -> Coefficients:
    p = normal_pdf(u)
    return normal_cdf(u), p, -u * p / 2, (square(u) - 1) * p / 6


def _t_normal_pdf(u: arb) -> Coefficients:
    p, s = normal_pdf(u), square(u)
    return p, -u * p, (s - 1) * p / 2, u * (3 - s) * p / 6


def _t_atan(u: arb) -> Coefficients:
    s = square(u)
    q = 1 / (1 + s)
    return REAL["atan"](u), q, -u * q * q, (3 * s - 1) * q * q * q / 3


def _t_sqrt(u: arb) -> Coefficients:
    r = _root(u)
    q = reciprocal(r)
    third = q * q * q
    return r, q / 2, -third / 8, third * q * q / 16


def _t_recip(u: arb) -> Coefficients:
    q = reciprocal(u)
    s = q * q
    return q, -s, s * q, -s * s


TAYLOR: dict[str, Callable[[arb], Coefficients]] = {
    "exp": _t_exp,
    "sigmoid": _t_sigmoid,
    "tanh": _t_tanh,
    "softplus": _t_softplus,
    "log1p": _t_log1p,
    "erf": _t_erf,
    "normal_cdf": _t_normal_cdf,
    "normal_pdf": _t_normal_pdf,
    "atan": _t_atan,
    "sqrt": _t_sqrt,
    "recip": _t_recip,
}

_I = acb(0, 1)

# The flag asks whether the value must be analytic on the ball, as acb.integral requires at branch cuts.
COMPLEX: dict[str, Callable[[acb, bool], acb]] = {
    "exp": lambda z, _: z.exp(),
    "sigmoid": lambda z, _: 1 / (1 + (-z).exp()),
    "tanh": lambda z, _: z.tanh(),
    "softplus": lambda z, analytic: (1 + z.exp()).log(analytic=analytic),
    "log1p": lambda z, analytic: (1 + z).log(analytic=analytic),
    "erf": lambda z, _: z.erf(),
    "normal_cdf": lambda z, _: (-z / arb(2).sqrt()).erfc() / 2,
    "normal_pdf": lambda z, _: (-(z * z) / 2).exp() / (2 * arb.pi()).sqrt(),
    "atan": lambda z, a: (_I / 2) * ((1 - _I * z).log(analytic=a) - (1 + _I * z).log(analytic=a)),
    "sqrt": lambda z, analytic: z.sqrt(analytic=analytic),
    "square": lambda z, _: z * z,
    "recip": lambda z, _: 1 / z,
}


def ball_power(u: arb, exponent: arb | fmpq) -> arb:
    """u**exponent for a base that is not negative; monotone."""
    if not u.is_finite() or u.lower() < 0 or (u.lower() <= 0 and arb(exponent) <= 0):
        return u * arb("nan")
    return _power_point(u.lower(), exponent).union(_power_point(u.upper(), exponent))


def _power_point(u: arb, exponent: arb | fmpq) -> arb:
    return arb(0) if u.is_zero() else u ** arb(exponent)


def taylor_power(u: arb, exponent: arb | fmpq) -> Coefficients:
    """Taylor coefficients of u**exponent."""
    a = arb(exponent)
    q = reciprocal(u)
    value = ball_power(u, exponent)
    first = a * value * q
    second = first * (a - 1) * q / 2
    return value, first, second, second * (a - 2) * q / 3


def complex_power(z: Any, exponent: arb | fmpq, analytic: bool) -> Any:
    """z**exponent by its principal branch."""
    return z.pow(acb(arb(exponent)), analytic=analytic)
