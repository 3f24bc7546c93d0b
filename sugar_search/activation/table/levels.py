"""Into how many cells each octave is cut: as few as keep the error of cubics within a bound."""

from collections.abc import Sequence

import numpy as np

from sugar_search.activation.table.layout import MAX_PIECES
from sugar_search.activation.table.rows import MIDDLES, WIDTHS, Cut, rows
from sugar_search.activation.table.values import Values

__all__ = ["levels_for", "refined"]

_MOST = 9
_POINTS = 16
_AT = (np.arange(_POINTS) + 0.5) / _POINTS
# A cubic through 4 Chebyshev nodes of an interval of width h is off by at most h**4 max|g''''| / 3072.
_FROM_DIFFERENCE = _POINTS**4 / 3072
_NOISE = 1e-14


def levels_for(values_at: Values, found: Sequence[Cut], within: float) -> tuple[np.ndarray, float]:
    """The levels (see `rows`) by fourth differences of 16 values in each octave, and about max |g|."""
    whole = rows(np.zeros(len(WIDTHS), dtype=np.int64), found)
    values = values_at(whole.near[:, None] + whole.width[:, None] * _AT)
    scale = float(np.abs(values).max(initial=0.0, where=np.isfinite(values)))
    scale = max([scale, *(abs(cut.value) for cut in found if cut.value is not None)]) or 1.0
    step = np.diff(values, 4, axis=1)
    error = np.maximum(np.abs(step).max(axis=1) / scale - _NOISE, 0.0) * _FROM_DIFFERENCE
    error = np.where(np.isfinite(error), error, 1e30)
    narrower = np.log2(WIDTHS[whole.octave] / np.abs(whole.width))
    room = MAX_PIECES - len(whole.octave) + len(WIDTHS) - len(found)
    while True:
        wanted = np.log2(np.maximum(error / within, 1e-30)) / 4
        cells = np.where(wanted > 0, np.ceil(wanted + narrower - 1e-9), 0).clip(0, _MOST).astype(np.int64)
        levels = np.zeros(len(WIDTHS), dtype=np.int64)
        np.maximum.at(levels, whole.octave, cells)
        levels[~MIDDLES] = 0
        if (1 << levels).sum() <= room:
            return levels, scale
        within *= 2


def refined(levels: np.ndarray, octave: np.ndarray, errors: np.ndarray, limit: float, breaks: int) -> np.ndarray:
    """The levels, raised where the error is over the limit, the worst first, as far as the pieces go.

    Args:
        levels: (64,).
        octave: of each piece.
        errors: of each piece.
        limit: of the error.
        breaks: how many.
    """
    new = levels.copy()
    worst = np.zeros(len(levels))
    np.maximum.at(worst, octave, errors)
    room = MAX_PIECES - 2 * breaks - int((1 << levels).sum())
    for q in np.argsort(-worst)[: int((worst > limit).sum())]:
        wanted = int(np.ceil(np.log2(min(worst[q] / limit, 1e9)) / 4)) if MIDDLES[q] else 0
        for _ in range(min(wanted, _MOST - int(levels[q]))):
            more = 1 << int(new[q])
            if more <= room:
                new[q] += 1
                room -= more
    return new
