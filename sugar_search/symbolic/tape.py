"""An expression as a straight line of shared steps, the one form that every back end evaluates.

`Tape.of` turns a sympy expression in `x` into steps; each distinct subexpression is computed once. Small rewrites keep
the steps stable in floating point: `1 - sigmoid(u)` becomes `sigmoid(-u)`, which does not cancel.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
from sympy import Expr

from sugar_search.symbolic.primitives import PRIMITIVES, X, mp_power, number
from sugar_search.symbolic.steps import Builder, Step

__all__ = ["MAX_CLAMP", "NUMPY", "Step", "Tape", "all_registers", "clamp_bound"]

MAX_CLAMP = 2.0**126

NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    **{name: row.numpy for name, row in PRIMITIVES.items()},
}
_MPMATH: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b if b else a * mpmath.inf,
    "neg": lambda a: -a,
    **{name: row.mpmath for name, row in PRIMITIVES.items()},
}


def all_registers(steps: Iterable[Step], x: np.ndarray) -> list[Any]:
    """What each of some steps without inputs gives at `x` (float64), as numpy leaves it."""
    found: list[Any] = []
    for step in steps:
        if step.op == "x":
            found.append(x)
        elif step.op == "const":
            found.append(np.float64(step.value or 0.0))
        elif step.op == "pow":
            found.append(np.power(found[step.args[0]], step.value or 0.0))
        else:
            found.append(NUMPY[step.op](*(found[i] for i in step.args)))
    return found


@dataclass(frozen=True)
class Tape:
    """Straight-line program in one real variable; the last step is the result."""

    steps: tuple[Step, ...]

    @classmethod
    def of(cls, expression: Expr, inputs: Collection[str] = ()) -> "Tape":
        """The tape of an expression in x and the symbols named in `inputs`.

        Raises:
            ValueError: another symbol occurs.
        """
        unbound = {symbol.name for symbol in expression.free_symbols - {X}} - set(inputs)
        if unbound:
            raise ValueError(f"unbound parameters {sorted(unbound)}")
        builder = Builder(tuple(inputs))
        last = builder.build(expression)
        # The result must be the last step; a shared register can sit earlier only if it is the whole expression.
        return cls(tuple(builder.steps[: last + 1]))

    def numpy(self, x: np.ndarray, inputs: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """Values at `x` (any shape, float32 or float64), in the dtype of `x`; silent on overflow.

        Args:
            x: where to evaluate.
            inputs: values of the tape's inputs; their shapes and that of `x` are broadcast together.
        """
        x = np.asarray(x)
        given = {name: np.asarray(value, dtype=x.dtype) for name, value in (inputs or {}).items()}
        with np.errstate(all="ignore"):
            result = self.raw(x, given)
        shape = np.broadcast_shapes(x.shape, *(value.shape for value in given.values()))
        return np.array(np.broadcast_to(result, shape), dtype=x.dtype)

    def raw(self, x: np.ndarray, inputs: Mapping[str, np.ndarray], ops: Mapping[str, Any] | None = None) -> Any:
        """The last register as numpy leaves it: not broadcast, not copied, and loud about overflow.

        Args:
            x: float32 or float64.
            inputs: values of the tape's inputs, in the dtype of `x`.
            ops: numpy functions by operation; the usual ones by default.
        """
        ops, kind = ops or NUMPY, x.dtype.type
        registers: list[Any] = []
        for step in self.steps:
            if step.op == "x":
                registers.append(x)
            elif step.op == "const":
                registers.append(kind(step.value))
            elif step.op == "input":
                registers.append(inputs[step.name])
            elif step.op == "pow":
                registers.append(np.power(registers[step.args[0]], kind(step.value)))
            else:
                registers.append(ops[step.op](*[registers[i] for i in step.args]))
        return registers[-1]

    def stable(self, x: np.ndarray) -> np.ndarray:
        """Values as the torch code computes them: never nan unless the input is.

        Args:
            x: any shape; float16 is computed in float32 and rounded once. Clamped to `clamp_bound`, so infinities and
                numbers whose intermediate steps would overflow give the value at the bound.
        """
        x = np.asarray(x)
        working = x.astype(np.float32) if x.dtype == np.float16 else x
        bound = working.dtype.type(clamp_bound(self))
        values = self.numpy(np.clip(working, -bound, bound))
        with np.errstate(over="ignore"):
            return np.asarray(np.where(np.isnan(x), x, values).astype(x.dtype))

    def mpmath(self, x: Any, dps: int = 50, inputs: Mapping[str, Any] | None = None) -> Any:
        """The `mpf` value at one point, correct to about `dps` digits; `inputs` are `mpf` too."""
        with mpmath.workdps(dps + 20):
            registers: list[Any] = []
            for step in self.steps:
                if step.op == "x":
                    registers.append(mpmath.mpf(x))
                elif step.op == "const":
                    registers.append(_constant(step.exact, dps + 20))
                elif step.op == "input":
                    registers.append((inputs or {})[step.name])
                elif step.op == "pow":
                    registers.append(mp_power(registers[step.args[0]], _constant(step.exact, dps + 20)))
                else:
                    registers.append(_MPMATH[step.op](*(registers[i] for i in step.args)))
            result = registers[-1]
        with mpmath.workdps(dps):
            return +result


@lru_cache(maxsize=4096)
def _constant(exact: Expr, dps: int) -> Any:
    with mpmath.workdps(dps):
        return number(exact)


_POWERS = np.array([s * m * 2.0**k for k in range(127) for m in (1.0, 1.37) for s in (1.0, -1.0)], dtype=np.float32)
_NEAR = np.linspace(-8.0, 8.0, 65)


@lru_cache(maxsize=1024)
def clamp_bound(tape: Tape) -> float:
    """The bound T to which x must be clamped before float32 evaluation, a power of two between 1 and 2**126.

    The largest T for which float32 and float64 agree (both finite, within 1e-5 of the largest |value| so far) at
    ±2**k and ±1.37 * 2**k up to T. An overflow such as x**2/(1 + x**2) = inf/inf lies beyond T.
    """
    coarse = tape.numpy(_POWERS).astype(np.float64)
    fine = tape.numpy(_POWERS.astype(np.float64))
    near = np.abs(tape.numpy(_NEAR))
    with np.errstate(all="ignore"):
        scale = np.maximum.accumulate(np.where(np.isfinite(fine), np.abs(fine), 0.0))
        scale = np.maximum(scale, near[np.isfinite(near)].max(initial=0.0))
        good = np.isfinite(coarse) & np.isfinite(fine) & (np.abs(coarse - fine) <= 1e-5 * scale)
    if good.all():
        return MAX_CLAMP
    first_bad = float(abs(_POWERS[int(np.argmin(good))]))
    # The bad point is 2**k or 1.37 * 2**k: every point up to the bound must be good.
    exponent = int(np.floor(np.log2(first_bad)))
    return max(1.0, 2.0 ** (exponent if first_bad > 2.0**exponent else exponent - 1))
