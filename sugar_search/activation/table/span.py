"""The range that a table's values cannot leave, rounding included."""

import numpy as np

from sugar_search.activation.table.layout import OCTAVES
from sugar_search.activation.table.rows import Rows

__all__ = ["FLOAT", "rounding", "span"]

FLOAT = 2.0**-24  # relative error of one float32 operation
_UNDERFLOW = 2.0**-125  # absolute, where denormals are flushed


def span(c: np.ndarray, rows: Rows) -> tuple[float, float]:
    """The smallest and largest value of the pieces on their parts of the line, however the kernel rounds.

    Args:
        c: float64 (pieces, 4), coefficients already rounded to float32; constants of break points may follow.
        rows: the pieces.
    """
    single = c[len(rows.octave) :, 0]
    c = c[: len(rows.octave)]
    start = rows.near - rows.edge
    end = start + rows.width
    outer = rows.octave % OCTAVES == OCTAVES - 1
    start[outer] = end[outer] = 0.0
    with np.errstate(all="ignore"):
        root = np.sqrt(np.maximum(c[:, 2] ** 2 - 3 * c[:, 1] * c[:, 3], 0.0))
        # Both roots of c1 + 2 c2 t + 3 c3 t**2 without cancellation.
        q = -(c[:, 2] + np.copysign(root, c[:, 2]))
        turns = [np.nan_to_num(q / (3 * c[:, 3]), nan=0.0), np.nan_to_num(c[:, 1] / q, nan=0.0)]
    low, high = np.minimum(start, end), np.maximum(start, end)
    t = np.stack([start, end, *(np.clip(turn, low, high) for turn in turns)], axis=1)
    value = c[:, :1] + t * (c[:, 1:2] + t * (c[:, 2:3] + t * c[:, 3:]))
    room = rounding(c, np.maximum(np.abs(start), np.abs(end)))[:, None]
    least = min((value - room).min(), single.min(initial=np.inf))
    most = max((value + room).max(), single.max(initial=-np.inf))
    return float(least), float(most)


def rounding(c: np.ndarray, size: np.ndarray) -> np.ndarray:
    """How far float32 evaluation may stray from the polynomial: 0 for constants.

    A running bound of Horner's rule with a rounding at each multiplication and addition; t itself is exact.

    Args:
        c: (n, terms), float32 values.
        size: (n,), the largest |t|.
    """
    terms = c.shape[1]
    partial = bound = np.abs(c[:, -1])
    for k in range(terms - 2, -1, -1):
        partial = np.abs(c[:, k]) + size * partial
        bound = (2 if k else 1) * partial + size * bound
    bound = FLOAT * bound * (1 + 2 * terms * FLOAT) + _UNDERFLOW * (1 + size) ** (terms - 1)
    return np.where((c[:, 1:] == 0).all(axis=1), 0.0, bound)
