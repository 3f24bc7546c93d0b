"""A hash of sampled functions that does not see rounding: values in steps of the largest |g|, then exact sums."""

from functools import lru_cache

import numpy as np

from sugar_search.symbolic.screening import field

__all__ = ["WIDTH", "hashed", "prints", "sums"]

# Values are compared in steps of 3e-10 to 6e-10 of the largest |g|, so that equal hashes mean less than 1e-9. Spellings
# of one function differ by about 1e-15: on 128 points one of them lies on a border of steps about once in 2,000, and
# that duplicate stays.
_STEP_BITS = 32
# A surrogate's largest |g| is often a power of two, 1 above all; this factor keeps it off the border of two scales.
_OFF = 1.37
_SUMS = 6
WIDTH = _SUMS + 1


@lru_cache(maxsize=8)
def _weights(points: int) -> np.ndarray:
    """Whole numbers so small that a weighted sum of quantised values is exact in float64, in whatever order."""
    bits = 52 - _STEP_BITS - (points - 1).bit_length()
    rng = np.random.Generator(np.random.PCG64(20_250_522))
    return rng.integers(1, 2**bits, (points, _SUMS)).astype(np.float64)


def prints(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes and largest sizes of functions on one grid.

    Args:
        values: shape (n, points), float64.

    Returns:
        uint64, shape (n,), equal for equal functions, whatever their rounding; and max |g|, shape (n,), nan where a
        value is.
    """
    found, size = sums(values)
    return hashed(found), size


def sums(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `hashed` needs of functions on one grid, shape (n, 7), and their largest sizes, shape (n,)."""
    size = np.abs(values).max(axis=1)
    _, exponent = np.frexp(size * _OFF)
    found = np.empty((len(values), WIDTH))
    found[:, 0] = exponent
    steps = np.rint(values * np.ldexp(1.0, _STEP_BITS - exponent)[:, None])
    found[:, 1:] = steps @ _weights(values.shape[1])
    return found, size


def hashed(found: np.ndarray) -> np.ndarray:
    """One uint64 for each row of `sums`; rows that are not finite all get the same."""
    whole = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, 0.0).astype(np.int64).view(np.uint64)
    h = np.zeros(len(whole), dtype=np.uint64)
    for column in whole.T:
        h = field.mixed(h ^ column)
    return np.asarray(h)
