"""Float64 values of g that can be trusted far out, where steps of a tape overflow or cancel."""

from collections.abc import Callable

import numpy as np

from sugar_search.activation.table.rounding import rounding_bound
from sugar_search.symbolic.tape import MAX_CLAMP, Tape, clamp_bound

__all__ = ["Values", "values_of"]

_SOUND = 1e-9  # of |g| at the bound
Values = Callable[[np.ndarray], np.ndarray]


def values_of(tape: Tape) -> Values:
    """g at float64 points of any shape.

    Beyond the bound to which exact code clamps x, it is the value there, unless float64 is sure of its own.
    """
    bound = clamp_bound(tape)
    if bound == MAX_CLAMP:
        return tape.numpy
    ends = tape.numpy(np.array([-bound, bound]))

    def call(x: np.ndarray) -> np.ndarray:
        values = tape.numpy(x)
        far = np.abs(x) > bound
        if far.any():
            at_bound = ends[(x[far] > 0).astype(int)]
            beyond, error = rounding_bound(tape, x[far])
            sure = np.isfinite(beyond) & (error <= _SOUND * np.abs(ends).max())
            values[far] = np.where(sure, beyond, at_bound)
        return values

    return call
