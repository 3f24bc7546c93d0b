"""Exact values at rational points, to tell 0 from a number that is merely small."""

from flint import arb, fmpq

from sugar_search.symbolic.certificates.enclosing import REAL, ball_power
from sugar_search.symbolic.certificates.order import Coefficient, coefficient
from sugar_search.symbolic.certificates.smooth import Smooth

__all__ = ["exact_step", "exact_value"]

_HALF = fmpq(1, 2)
# Values at 0, where they are rational.
_AT_ZERO = {
    "exp": fmpq(1),
    "sigmoid": _HALF,
    "tanh": fmpq(0),
    "log1p": fmpq(0),
    "erf": fmpq(0),
    "normal_cdf": _HALF,
    "atan": fmpq(0),
}


def exact_value(smooth: Smooth, x: fmpq) -> Coefficient:
    """The value at a rational point, exact as far as the rules for constants reach; its ball is always right."""
    out: list[Coefficient] = []
    for op, args, payload in smooth.code:
        out.append(coefficient(x) if op == "x" else exact_step(op, [out[a] for a in args], payload))
    return out[-1]


def exact_step(op: str, args: list[Coefficient], payload: object) -> Coefficient:
    """One step on known values."""
    match op:
        case "const":
            return coefficient(payload)
        case "copy":
            return args[0]
        case "add":
            return args[0] + args[1]
        case "sub":
            return args[0] - args[1]
        case "mul":
            return args[0] * args[1]
        case "neg":
            return -args[0]
        case "square":
            return args[0] * args[0]
        case "div" | "recip":
            below = args[-1]
            inverse = below.power(fmpq(-1)) if below.sign else Coefficient(arb("nan"), None)
            return args[0] * inverse if op == "div" else inverse
        case "sqrt":
            if args[0].is_zero:
                return args[0]
            return args[0].power(_HALF) if args[0].ball > 0 else Coefficient(REAL["sqrt"](args[0].ball), None)
        case "pow" if args[0].is_zero and coefficient(payload).sign == 1:
            return args[0]
        case "pow":
            return Coefficient(ball_power(args[0].ball, coefficient(payload).ball), None)
    if op in _AT_ZERO and args[0].is_zero:
        return coefficient(_AT_ZERO[op])
    return Coefficient(REAL[op](args[0].ball), None)
