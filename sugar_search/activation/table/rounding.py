"""Float64 values of a tape with a running bound on their rounding error."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sugar_search.symbolic.primitives import PRIMITIVES
from sugar_search.symbolic.tape import Tape

__all__ = ["rounding_bound"]

UNIT = 2.0**-50  # relative error of one float64 operation, eight times its rounding: functions are not rounded exactly
TINY = 1e-320

Arrays = tuple[np.ndarray, np.ndarray]


def rounding_bound(tape: Tape, x: np.ndarray) -> Arrays:
    """Float64 values of the tape at `x`, and for each a first-order bound on its error; inf or nan where there is none.

    The bound runs along the tape: the errors of the arguments through each operation, and the operation's own rounding.
    """
    registers: list[Arrays] = []
    with np.errstate(all="ignore"):
        for step in tape.steps:
            if step.op == "x":
                registers.append((x, np.zeros_like(x)))
            elif step.op == "const":
                constant = float(step.value or 0.0)
                wrong = 0.0 if step.exact == constant else abs(constant) * UNIT
                registers.append((np.full_like(x, constant), np.full_like(x, wrong)))
            else:
                value, error = _step(step.op, step.value, [registers[i] for i in step.args])
                registers.append((value, error))
    values, bound = registers[-1]
    return values.copy(), np.where(np.isfinite(values), bound, np.inf)


def _step(op: str, exponent: float | None, arguments: list[Arrays]) -> Arrays:
    """Value and error of one operation."""
    (a, ea), (b, eb) = arguments[0], arguments[-1]
    match op:
        case "add" | "sub":
            value = a + b if op == "add" else a - b
            return value, ea + eb + np.abs(value) * UNIT
        case "mul":
            value = a * b
            return value, np.abs(a) * eb + np.abs(b) * ea + ea * eb + np.abs(value) * UNIT + TINY
        case "div":
            value = a / b
            room = np.abs(b) - eb
            return value, np.where(room > 0, (ea + np.abs(value) * eb) / room, np.inf) + np.abs(value) * UNIT + TINY
        case "neg" | "abs":
            return (-a if op == "neg" else np.abs(a)), ea
        case "square":
            return a * a, ea * (2 * np.abs(a) + ea) + a * a * UNIT + TINY
        case "gt" | "lt":
            # The error of a condition: 0 where it is certain, else 1.
            return (a > b if op == "gt" else a < b), ((ea + eb > 0) & (np.abs(a - b) <= ea + eb)).astype(float)
        case "where":
            condition, unsure = arguments[0]
            (u, eu), (v, ev) = arguments[1:]
            chosen = np.where(condition, u, v), np.where(condition, eu, ev)
            return chosen[0], np.where(unsure > 0, eu + ev + np.abs(u - v), chosen[1])
        case "min" | "max":
            return PRIMITIVES[op].numpy(a, b), np.maximum(ea, eb)
        case "pow":
            return _function(lambda u: np.power(u, exponent or 0.0), a, ea)
        case "normal_pdf":
            value, error = _function(PRIMITIVES[op].numpy, a, ea)
            return value, error + np.abs(value) * a * a * UNIT
    return _function(PRIMITIVES[op].numpy, a, ea)


def _function(call: Callable[[Any], Any], a: np.ndarray, ea: np.ndarray) -> Arrays:
    """A function of one argument, which may lie anywhere within its error; most of them are monotone."""
    value = call(a)
    spread = np.zeros_like(value)
    if ea.any():
        spread = np.maximum(np.abs(call(a + ea) - value), np.abs(call(a - ea) - value))
    return value, 2 * spread + np.abs(value) * UNIT + TINY
