"""What the form of a step alone says of its sign and size: whole numbers between which it lies.

So 1 - 1/(1 + u**2) is known not to be negative although it is 0 where u is, which no enclosure can show, and
2/(1 + x**2) not to exceed 2. A range holds wherever the step is defined.
"""

from collections.abc import Sequence
from math import ceil, floor, inf, isfinite, nextafter

from flint import arb
from sympy import Expr

from sugar_search.symbolic.steps import Step

__all__ = ["Range", "constant_range", "range_of"]

# Whole numbers up to _MOST in size, or infinite: sums and products of two are exact, and so are rounded quotients.
Range = tuple[float, float]
_MOST = 2.0**20

_UNIT = {"sigmoid", "normal_cdf", "normal_pdf"}
_ODD = {"tanh": 1.0, "erf": 1.0, "sign": 1.0, "atan": 2.0}  # odd and increasing, with a bound of the size


def constant_range(exact: Expr, ball: arb) -> Range:
    """The range of a constant; rationals are compared exactly."""
    if exact.is_Rational:
        p, q = int(exact.p), int(exact.q)
        low, high = p // q, -(-p // q)
        return (float(low) if abs(low) <= _MOST else _MOST if low > 0 else -inf), (
            float(high) if abs(high) <= _MOST else -_MOST if high < 0 else inf
        )
    if not ball.is_finite():
        return -inf, inf
    return _whole(nextafter(float(ball.lower()), -inf), nextafter(float(ball.upper()), inf))


def range_of(step: Step, known: list[Range], steps: Sequence[Step]) -> Range:
    """The range of a step from those of its arguments; constants and x are not handled here."""
    if step.op == "where":
        step = _as_extremum(step, steps[step.args[0]])
    return _whole(*_range(step, [known[a] for a in step.args]))


def _as_extremum(step: Step, condition: Step) -> Step:
    """where(u > v, u, v) as max(u, v), and where(u > v, v, u) as min(u, v)."""
    u, v = condition.args if condition.op == "gt" else condition.args[::-1]
    op = "max" if step.args[1:] == (u, v) else "min" if step.args[1:] == (v, u) else None
    return step if op is None else Step(op, (u, v), None, None)


def _whole(low: float, high: float) -> Range:
    """Rounded outwards to what a range may hold."""
    a = -inf if low < -_MOST else _MOST if low > _MOST else float(floor(low))
    b = inf if high > _MOST else -_MOST if high < -_MOST else float(ceil(high))
    return a, b


def _range(step: Step, args: list[Range]) -> Range:
    (a, b), (c, d) = args[0], args[-1]
    match step.op:
        case "add":
            return a + c, b + d
        case "sub":
            return a - d, b - c
        case "neg":
            return -b, -a
        case "mul":
            return _square(a, b) if step.args[0] == step.args[1] else _product(a, b, c, d)
        case "div":
            return _quotient(a, b, c, d)
        case "recip":
            return _quotient(1.0, 1.0, a, b)
        case "square":
            return _square(a, b)
        case "exp":
            return (1.0 if a >= 0 else 0.0), (1.0 if b <= 0 else inf)
        case "pow" if not (step.value is not None and step.value > 0):
            return 0.0, inf
        case "sqrt" | "pow":
            return (1.0 if a >= 1 else 0.0), (1.0 if b <= 1 else inf)
        case "abs":
            return max(a, -b, 0.0), max(-a, b)
        case "softplus":
            return 0.0, inf
        case "log1p":
            return (0.0 if a >= 0 else -inf), (0.0 if b <= 0 else inf)
        case "max":
            return max(a, c), max(b, d)
        case "min":
            return min(a, c), min(b, d)
        case "where":
            (a, b), (c, d) = args[1], args[2]
            return min(a, c), max(b, d)
    if step.op in _UNIT:
        return 0.0, 1.0
    if step.op in _ODD:
        return (0.0 if a >= 0 else -_ODD[step.op]), (0.0 if b <= 0 else _ODD[step.op])
    return -inf, inf


def _times(u: float, v: float) -> float:
    return 0.0 if u == 0 or v == 0 else u * v


def _product(a: float, b: float, c: float, d: float) -> Range:
    corners = [_times(u, v) for u in (a, b) for v in (c, d)]
    return min(corners), max(corners)


def _quotient(a: float, b: float, c: float, d: float) -> Range:
    """Only for a divisor that cannot be negative."""
    if c >= 1:
        corners = [u / v if isfinite(v) else 0.0 for u in (a, b) for v in (c, d)]
        return min(corners), max(corners)
    return ((0.0 if a >= 0 else -inf), (0.0 if b <= 0 else inf)) if c >= 0 else (-inf, inf)


def _square(a: float, b: float) -> Range:
    return (0.0 if a <= 0 <= b else min(a * a, b * b)), max(a * a, b * b)
