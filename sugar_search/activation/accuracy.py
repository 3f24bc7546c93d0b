"""How far the emitted torch code strays from the true derivative, by floating type.

The reference is the float64 tape where a running bound on its rounding error says that it is sound, and 50-digit
arithmetic everywhere else (cancellation, overflow, conditions too close to call).
"""

import numpy as np
import torch
from torch import Tensor

from sugar_search.activation.exact import compile_tape
from sugar_search.activation.table.rounding import rounding_bound
from sugar_search.symbolic.surrogate import Surrogate
from sugar_search.symbolic.tape import Tape, clamp_bound

__all__ = ["DTYPES", "below", "code_errors", "inputs", "reference"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SOUND = 1e-11  # float64 values with a bound below this share of max |g| are taken as they are
MOST_EXACT = 400  # 50-digit values a type; each costs 50 to 300 microseconds
JUMP = 0.01  # an error beyond this share of max |g| may be a jump; rounding to bfloat16 gives 0.004
MOST_JUMPS = 50


def code_errors(surrogate: Surrogate) -> dict[str, float]:
    """Worst |code - g| over max |g| of the emitted torch code, by the name of the floating type.

    Every finite bfloat16 and float16 value is tried, and 40,002 float32 values (see `inputs`); the errors of the half
    types hold their one rounding. Beyond the bound to which the code clamps its input, the true value of g counts. A
    jump that comes up to two float32 steps early or late (`x > 0.1`, as 0.1 is no float32) is no error.

    Returns:
        "float32", "bfloat16" and "float16" with the error; inf where the code gives no finite number.
    """
    code = compile_tape(surrogate.tape)
    found = {}
    for name, dtype in DTYPES.items():
        x = inputs(dtype)
        with torch.no_grad():
            got = code(x).double().numpy()
        exact = reference(surrogate.tape, x.double().numpy(), got)
        scale = float(np.abs(exact[np.isfinite(exact)]).max(initial=0.0)) or 1.0
        errors = _without_early_jumps(surrogate.tape, x.float().numpy(), got, np.abs(got - exact) / scale, scale)
        found[name] = float(np.where(np.isfinite(errors), errors, np.inf).max())
    return found


def _without_early_jumps(tape: Tape, x: np.ndarray, got: np.ndarray, errors: np.ndarray, scale: float) -> np.ndarray:
    """The errors, those of the wrong side of a jump replaced by the error against g at neighbouring float32 values."""
    worst = np.argsort(errors)[-MOST_JUMPS:]
    for i in worst[errors[worst] > JUMP]:
        for towards in (-np.inf, np.inf):
            near = np.nextafter(np.nextafter(x[i], np.float32(towards)), np.float32(towards))
            errors[i] = min(errors[i], abs(got[i] - _exact(tape, float(near))) / scale)
    return errors


def inputs(dtype: torch.dtype) -> Tensor:
    """All finite values of a half type; of float32, 20,001 log-spaced to 1e30, and 20,001 even ones on [-20, 20]."""
    if dtype == torch.float32:
        positive = torch.logspace(-30, 30, 10_000, dtype=torch.float64)
        far = torch.cat([-positive.flip(0), torch.zeros(1, dtype=torch.float64), positive])
        return torch.cat([far, torch.linspace(-20, 20, 20_001, dtype=torch.float64)]).to(dtype)
    x = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    return x[torch.isfinite(x)].sort().values


def reference(tape: Tape, x: np.ndarray, suspect: np.ndarray | None = None) -> np.ndarray:
    """g at `x` (float64), right to 1e-11 of max |g| or better.

    Args:
        tape: of g.
        x: float64 points.
        suspect: values under test. Where more than 400 points need 50 digits, those where these are furthest from the
            float64 values are taken, and an even sample of the others; the remaining ones become nan-free float64.
    """
    values, bound = rounding_bound(tape, x)
    finite = np.isfinite(values) & np.isfinite(bound)
    scale = np.abs(values[finite]).max(initial=1e-300)
    doubtful = np.flatnonzero(~finite | (bound > SOUND * scale))
    chosen = doubtful
    if len(doubtful) > MOST_EXACT:
        gap = np.abs((values if suspect is None else suspect) - values)[doubtful]
        order = np.argsort(np.where(np.isfinite(gap), gap, np.inf))
        even = np.linspace(0, len(doubtful) - 1, MOST_EXACT // 2).round().astype(int)
        chosen = doubtful[np.union1d(order[-MOST_EXACT // 2 :], even)]
    if suspect is not None:
        # What nobody could vouch for counts as right: float64 would be blamed on the code.
        values[doubtful] = suspect[doubtful]
    for i in chosen:
        exact = _exact(tape, float(x[i]))
        if not np.isnan(exact) or suspect is None:
            values[i] = exact
    return values


def _exact(tape: Tape, x: float) -> float:
    """g(x); where even this arithmetic finds 0 times infinity, as far out, g at the bound to which the code clamps."""
    exact = float(tape.mpmath(x))
    bound = clamp_bound(tape)
    return float(tape.mpmath(min(max(x, -bound), bound))) if np.isnan(exact) else exact


def below(surrogate: Surrogate) -> list[str]:
    """The floating types in which max |g| lies below the smallest normal number."""
    x = inputs(torch.float32).double().numpy()
    with np.errstate(all="ignore"):
        values = np.abs(surrogate.tape.numpy(x))
    peak = values[np.isfinite(values)].max(initial=0.0)
    return [name for name, dtype in DTYPES.items() if peak < torch.finfo(dtype).tiny]
