"""What the form of a step alone says of its sign and size: at least 0 or 1, at most 0 or 1.

So 1 - 1/(1 + u**2) is known not to be negative although it is 0 where u is, which no enclosure can show.
"""

from math import inf

from flint import arb, fmpq
from sympy import Expr

from sugar_search.symbolic.steps import Step

__all__ = ["Range", "constant_range", "range_of"]

Range = tuple[float, float]  # ends are -inf, 0, 1 or inf

_UNIT = {"sigmoid", "normal_cdf", "normal_pdf"}
_ODD = {"tanh", "erf", "sign"}  # odd, increasing, between -1 and 1


def constant_range(exact: Expr, ball: arb) -> Range:
    """The range of a constant; rationals are compared exactly."""
    value = arb(fmpq(int(exact.p), int(exact.q))) if exact.is_Rational else ball
    low = 1.0 if value >= 1 else 0.0 if value >= 0 else -inf
    high = 0.0 if value <= 0 else 1.0 if value <= 1 else inf
    return low, high


def range_of(step: Step, known: list[Range]) -> Range:
    """The range of a step from those of its arguments; constants and x are not handled here."""
    args = [known[a] for a in step.args]
    (a, b), (c, d) = args[0], args[-1]
    match step.op:
        case "add":
            return (max(a, c) if a >= 0 and c >= 0 else -inf), (min(b, d) if b <= 0 and d <= 0 else _least(b, d))
        case "sub":
            return (0.0 if a >= 1 and d <= 1 else a if d <= 0 else -inf), (b if c >= 0 else inf)
        case "neg":
            return (0.0 if b <= 0 else -inf), (0.0 if a >= 0 else inf)
        case "mul":
            if step.args[0] == step.args[1]:
                return _square(a, b)
            both = a >= 0 and c >= 0
            return (a * c if both else -inf), (1.0 if both and b <= 1 and d <= 1 else inf)
        case "div":
            both = a >= 0 and c >= 0
            return (0.0 if both else -inf), (1.0 if both and b <= 1 and c >= 1 else inf)
        case "recip":
            return (0.0 if a >= 0 else -inf), (1.0 if a >= 1 else inf)
        case "square":
            return _square(a, b)
        case "exp":
            return (1.0 if a >= 0 else 0.0), (1.0 if b <= 0 else inf)
        case "pow" if not (step.value is not None and step.value > 0):
            return 0.0, inf
        case "sqrt" | "pow":
            return (1.0 if a >= 1 else 0.0), (1.0 if b <= 1 and a >= 0 else inf)
        case "abs":
            return max(a, 0.0), (1.0 if a >= 0 and b <= 1 else inf)
        case "softplus":
            return 0.0, inf
        case "atan" | "log1p":
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
        return (0.0 if a >= 0 else -inf), (0.0 if b <= 0 else 1.0)
    return -inf, inf


def _least(b: float, d: float) -> float:
    """The larger end of a sum when one of the two cannot be positive."""
    return b if d <= 0 else d if b <= 0 else inf


def _square(a: float, b: float) -> Range:
    return (1.0 if a >= 1 else 0.0), (1.0 if a >= 0 and b <= 1 else inf)
