"""A tape at points in ball arithmetic: values correct to rounding, and where its conditions change."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
from flint import arb, fmpq
from sympy import Expr

from sugar_search.symbolic.certificates.enclosing import REAL
from sugar_search.symbolic.certificates.working import working
from sugar_search.symbolic.primitives import number
from sugar_search.symbolic.steps import Step
from sugar_search.symbolic.tape import Tape

__all__ = ["PRECISIONS", "Truths", "condition_changes", "values_at"]

# Bits; the later ones are used only at points whose ball is too wide. exp(1000) cancels within 1,500 bits.
PRECISIONS = (128, 512, 2048)
# Bits of a float64, and some more so that rounding once is rounding right.
_ENOUGH = 60
# Smaller values count as 0: one spelling may leave 1e-160 where another leaves an exact 0.
_SMALLEST = 1e-100
_MOST_CHANGES = 64

# For each step that is a condition or a sign: its outcome at each point; None where it is not known.
Truths = dict[int, list[Any]]


def _sigmoid(u: Any) -> Any:
    e = (-abs(u)).exp()
    return 1 / (1 + e) if u >= 0 else e / (1 + e) if u <= 0 else 1 / (1 + (-u).exp())


def _softplus(u: Any) -> Any:
    e = (-abs(u)).exp().log1p()
    return u + e if u >= 0 else e if u <= 0 else u.exp().log1p()


def _normal_cdf(u: Any) -> Any:
    return (-u / arb(2).sqrt()).erfc() / 2


def _normal_pdf(u: Any) -> Any:
    return (-u * u / 2).exp() / (2 * arb.pi()).sqrt()


def _sign(u: Any) -> Any:
    return arb(1) if u > 0 else arb(-1) if u < 0 else u if u.is_zero() else arb.nan()


def _greater(a: Any, b: Any) -> bool | None:
    return True if a > b else False if a <= b else None


# Forms for narrow balls: half the work of the tight enclosures of wide ones, which serve every other primitive.
_BALL: dict[str, Callable[..., Any]] = {
    **REAL,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "recip": lambda a: 1 / a,
    "square": lambda a: a * a,
    "exp": lambda a: a.exp(),
    "sigmoid": _sigmoid,
    "tanh": lambda a: a.tanh(),
    "softplus": _softplus,
    "log1p": lambda a: a.log1p(),
    "erf": lambda a: a.erf(),
    "normal_cdf": _normal_cdf,
    "normal_pdf": _normal_pdf,
    "atan": lambda a: a.atan(),
    "sqrt": lambda a: a.sqrt(),
    "abs": abs,
    "sign": _sign,
    "min": lambda a, b: a.min(b),
    "max": lambda a, b: a.max(b),
    "gt": _greater,
    "lt": lambda a, b: _greater(b, a),
    "where": lambda c, u, v: arb.nan() if c is None else u if c else v,
}


@lru_cache(maxsize=8192)
def _constant(exact: Expr, bits: int) -> Any:
    """The ball of an exact constant, in the working precision."""
    if exact.is_Rational:
        return arb(fmpq(int(exact.p), int(exact.q)))
    with mpmath.workprec(bits + 40):
        value = number(exact)
        if not mpmath.isfinite(value):
            return arb.nan()
        sign, man, exp, _ = value._mpf_
        mid = arb((int(-man if sign else man), int(exp)))
    return arb(mid, abs(mid) * arb((1, -bits - 20)))


def _run(steps: Sequence[Step], points: Sequence[Any], bits: int, last: bool = False) -> list[list[Any]]:
    """Every register at every point; `last`: a difference that is not told from 0 counts as 0."""
    registers: list[list[Any]] = []
    for step in steps:
        if step.op == "x":
            registers.append(list(points))
        elif step.op == "const":
            registers.append([_constant(step.exact, bits)] * len(points))
        elif step.op == "pow":
            power = _constant(step.exact, bits)
            registers.append([u if u.is_zero() else u**power for u in registers[step.args[0]]])
        else:
            if step.op not in _BALL:
                raise ValueError(f"a tape with {step.op!r} has no values")
            arguments = [registers[i] for i in step.args]
            if last and step.op in ("gt", "lt", "sign"):
                arguments = _settled(step.op, arguments)
            registers.append(list(map(_BALL[step.op], *arguments)))
    return registers


def _settled(op: str, arguments: list[list[Any]]) -> list[list[Any]]:
    """The compared difference, with balls that hold 0 and are finite replaced by 0."""
    zero = arb(0)
    left = arguments[0] if op == "sign" else [a - b for a, b in zip(*arguments)]
    left = [zero if u.is_finite() and u.contains(0) else u for u in left]
    return [left] if op == "sign" else [left, [zero] * len(left)]


def values_at(tape: Tape, x: np.ndarray) -> tuple[np.ndarray, Truths]:
    """Values in float64, rounded once, and the outcome of each condition.

    Args:
        tape: a finished tape (no inputs).
        x: float64, shape (n,).

    Returns:
        Values, shape (n,), nan where g is not finite or not resolved at the last of `PRECISIONS`; and the outcomes.
    """
    conditions = [i for i, step in enumerate(tape.steps) if step.op in ("gt", "lt", "sign")]
    truths: Truths = {i: [None] * len(x) for i in conditions}
    values = np.full(len(x), np.nan)
    waiting = range(len(x))
    for bits in PRECISIONS:
        last = bits == PRECISIONS[-1]
        with working(bits):
            registers = _run(tape.steps, [arb(float(x[k])) for k in waiting], bits, last)
            unresolved = []
            for k, point in enumerate(waiting):
                value = _rounded(registers[-1][k])
                if value is None:
                    unresolved.append(point)
                    continue
                values[point] = value
                for i in conditions:
                    truths[i][point] = _outcome(registers[i][k])
        if not unresolved:
            break
        waiting = unresolved  # type: ignore[assignment]
    return values, truths


def _rounded(ball: Any) -> float | None:
    """The float64 nearest to a narrow ball; None if it is too wide."""
    if not ball.is_finite():
        return None
    if ball.rel_accuracy_bits() >= _ENOUGH:
        value = float(ball)
        return value if abs(value) >= _SMALLEST else 0.0
    return 0.0 if ball.abs_upper() < _SMALLEST else None


def _outcome(register: Any) -> Any:
    """True, False or None for a condition; -1, 0, 1 or None for a sign."""
    if register is None or isinstance(register, bool):
        return register
    return int(float(register)) if register.is_finite() else None


def condition_changes(tape: Tape, x: np.ndarray, truths: Truths) -> Iterator[tuple[float, float]]:
    """Brackets, a rounding step wide, in which a condition or a sign changes between neighbouring points.

    A condition that changes and changes back between two neighbours is not seen.
    """
    count = 0
    for register, outcomes in truths.items():
        if not any(a != b for a, b in pairwise(outcomes)):
            continue
        steps = _needed(tape.steps, register)
        for k in range(len(x) - 1):
            below, above = outcomes[k], outcomes[k + 1]
            if below is None or above is None or below == above or count >= _MOST_CHANGES:
                continue
            count += 1
            yield _bisect(steps, float(x[k]), float(x[k + 1]), below)


def _needed(steps: tuple[Step, ...], register: int) -> list[Step]:
    """The steps that a register is made of, renumbered."""
    wanted = {register}
    for i in range(register, -1, -1):
        if i in wanted:
            wanted.update(steps[i].args)
    order = {old: new for new, old in enumerate(sorted(wanted))}
    return [Step(s.op, tuple(order[a] for a in s.args), s.value, s.exact) for s in (steps[i] for i in sorted(wanted))]


def _bisect(steps: Sequence[Step], low: float, high: float, below: Any) -> tuple[float, float]:
    """Halves [low, high] down to a rounding step; the outcome at `low` is `below`."""
    bits = PRECISIONS[0]
    with working(bits):
        while high - low > 2.0**-50 * max(1.0, abs(low), abs(high)):
            middle = low + (high - low) / 2
            if _outcome(_run(steps, [arb(middle)], bits, last=True)[-1][0]) == below:
                low = middle
            else:
                high = middle
    return low, high
