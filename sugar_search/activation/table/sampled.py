"""The error of a table at samples: between the nodes of every piece, beside breaks and far out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sugar_search.activation.table.evaluate import evaluate, pieces_of
from sugar_search.activation.table.narrow import GRID, narrow
from sugar_search.activation.table.rounding import rounding_bound
from sugar_search.activation.table.rows import Cut, Rows
from sugar_search.activation.table.values import Values
from sugar_search.symbolic.tape import Tape

__all__ = ["Sampled", "sampled"]

# Where the error of a Chebyshev interpolant is largest.
_AT = np.array([0.0, 0.146446609, 0.5, 0.853553391, 1.0])
_DOUBTFUL, _SOUND = 1e-6, 1e-9  # of max |g|
_MOST_SETTLED = 32


@dataclass(frozen=True)
class Sampled:
    """What samples show.

    Attributes:
        error: largest |table - g| over max |g|; inf if a value is not finite, or all are 0.
        scale: max |g|.
        by_piece: errors of the pieces.
        x: the samples, float32.
        true: g there; NaN where float64 cannot tell on which side of a condition x is.
    """

    error: float
    scale: float
    by_piece: np.ndarray
    x: np.ndarray
    true: np.ndarray


def sampled(tape: Tape, values: Values, rows: Rows, found: Sequence[Cut], words: np.ndarray) -> Sampled:
    """Compares a table with the values of g."""
    inside = (rows.near[:, None] + rows.width[:, None] * _AT).astype(np.float32)
    ends = inside[:, -1].view(np.int32)
    ends -= inside[:, -1] != 0  # the last float that is in the piece
    around = narrow(tape, tuple(cut.at for cut in found))
    x = np.concatenate([inside.ravel(), GRID, () if around is None else around, _beside(found)]).astype(np.float32)
    true = values(x.astype(np.float64))
    for cut in found:
        if cut.value is not None:
            true[x == cut.at] = cut.value
    gap = np.abs(evaluate(words, x).astype(np.float64) - true)
    scale = float(np.abs(true).max())
    if around is None or not 0 < scale < np.inf:
        return Sampled(np.inf, 1.0, np.zeros(len(rows.octave)), x, true)
    gap /= scale
    by_piece = gap[: inside.size].reshape(inside.shape).max(axis=1)
    doubtful = inside.size + np.flatnonzero(gap[inside.size :] > _DOUBTFUL)
    if len(doubtful):
        true[doubtful] = _settled(tape, x[doubtful].astype(np.float64), true[doubtful], gap[doubtful], scale)
        gap[doubtful] = np.abs(evaluate(words, x[doubtful]).astype(np.float64) - true[doubtful]) / scale
        gap[np.isnan(true)] = 0.0
    elsewhere = gap[inside.size :]
    if elsewhere.max() > by_piece.max():
        pieces = pieces_of(words, x[inside.size :].view(np.int32))[0]
        known = pieces < len(by_piece)  # not the value of a break point
        np.maximum.at(by_piece, pieces[known], elsewhere[known])
    error = float(gap.max())
    return Sampled(error if np.isfinite(error) else np.inf, scale, by_piece, x, true)


def _settled(tape: Tape, x: np.ndarray, values: np.ndarray, gap: np.ndarray, scale: float) -> np.ndarray:
    """Values of g where those in float64 are far from the table: by ball arithmetic where float64 is not sure."""
    from sugar_search.symbolic.points import values_at

    values = values.copy()
    # So near a condition float64 may take the other side, and so near 0 a difference may be rounding.
    unsure = np.flatnonzero(~(rounding_bound(tape, x)[1] <= _SOUND * scale))
    worst = unsure[np.argsort(-gap[unsure])]
    values[worst] = np.nan
    chosen = worst[:_MOST_SETTLED]
    if len(chosen):
        values[chosen] = values_at(tape, x[chosen])[0]
    return values


def _beside(found: Sequence[Cut]) -> np.ndarray:
    """The floats at and next to breaks, and the zeros."""
    places = [0, -1, 1, -2]
    for cut in found:
        places += range(cut.left - 1, cut.right + 2)
    orders = np.array(places, dtype=np.int64)
    return np.where(orders >= 0, orders, orders ^ 0x7FFFFFFF).astype(np.int32).view(np.float32)
