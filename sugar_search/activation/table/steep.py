"""Cuts between 0 and the octaves, where a table has one cell of each sign, for a g that is steep there."""

from collections.abc import Sequence

import numpy as np

from sugar_search.activation.table.fit import FROM_0
from sugar_search.activation.table.layout import OCTAVES
from sugar_search.activation.table.rows import WIDTHS, Cut, Rows, cut_between, rows
from sugar_search.activation.table.values import Values

__all__ = ["beside_0"]

_POINTS = 64
_AT = (np.arange(_POINTS) / (_POINTS - 1)) ** 3  # denser towards 0, where most steep functions are steepest
# A cubic through 4 Chebyshev nodes of an interval of width h is off by at most h**4 max|g''''| / 3072.
_CUBIC = 3072
_AIM = 0.5  # of the limit, since rounding comes on top
_EVEN = 1.1  # times the mean error: what the largest may be

# The cubic that is exact at 0 is off by more: the piece there is narrower by this factor.
_DENSE = np.linspace(0, 1, 1000)
_FIRST = float((128 * np.abs(np.prod(_DENSE[:, None] - FROM_0, axis=1)).max()) ** -0.25)


def beside_0(
    values_at: Values,
    breaks: Sequence[Cut],
    found: Sequence[Cut],
    table: Rows,
    errors: np.ndarray,
    limit: float,
    scale: float,
    room: int,
) -> list[Cut]:
    """The cuts, with more of them next to 0 where pieces are over the limit, as far as they go.

    Between two breaks all pieces get the same share of the integral of |g''''|**(1/4), so that their errors are equal;
    where the errors of several pieces are known, these tell the integral.

    Args:
        values_at: g.
        breaks: where g or its slope may jump.
        found: these and the cuts added so far, ascending.
        table: the pieces with those cuts.
        errors: of the pieces, as a share of max |g|.
        limit: of the errors.
        scale: about max |g|.
        room: the most cuts to add to `breaks`.
    """
    inner = np.flatnonzero(table.octave % OCTAVES == 0)
    if room < 1 or not (errors[inner] > limit).any():
        return list(found)
    inner = inner[np.argsort(np.abs(table.near[inner]))]
    middle = table.near[inner] + table.width[inner] / 2
    whole = rows(np.zeros(len(WIDTHS), dtype=np.int64), breaks)
    parts = np.flatnonzero(whole.octave % OCTAVES == 0)
    x = whole.near[parts, None] + whole.width[parts, None] * _AT
    shares = _shares(np.abs(x - x[:, :1]), values_at(x) / scale)
    first = np.where(x[:, 0] == 0, _FIRST, 1.0)
    had, wanted, even = np.ones(len(parts), dtype=int), np.ones(len(parts), dtype=int), True
    for i, (low, high) in enumerate(np.sort(x[:, [0, -1]], axis=1)):
        own = inner[(low < middle) & (middle < high)]
        off = errors[own]
        if not len(own):
            continue
        if len(own) > 1:
            measured = (_CUBIC * off) ** 0.25
            measured[0] *= first[i]
            ends = np.interp(np.abs(table.near[own]), np.abs(x[i]), shares[i])
            shares[i] = np.interp(shares[i], [*ends, shares[i, -1]], [0.0, *np.cumsum(measured)])
        over = bool(off.max() > limit)
        even &= not over or off.max() <= _EVEN * off.mean()
        had[i] = len(own)
        enough = min(float(shares[i, -1]) * (_CUBIC * _AIM * limit) ** -0.25, room) + 1 - first[i]
        wanted[i] = max(int(np.ceil(enough)), len(own) + over)
    counts = _dealt(wanted, shares[:, -1], room)
    if even and (counts == had).all():
        return list(found)
    added = []
    for i in np.flatnonzero(counts > 1).tolist():
        ends = (first[i] + np.arange(counts[i] - 1)) / (first[i] + counts[i] - 1)
        added += [cut_between(at) for at in np.interp(ends * shares[i, -1], shares[i], x[i])]
    return sorted([*breaks, *added], key=lambda cut: cut.at)


def _shares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The integral of |g''''|**(1/4) up to each point, by divided differences.

    Args:
        x: (parts, points), from 0 on, ascending.
        y: the values there.
    """
    difference = y
    for k in range(1, 5):
        difference = np.diff(difference, axis=1) / (x[:, k:] - x[:, :-k])
    density = np.nan_to_num(24 * np.abs(difference), nan=0.0, posinf=0.0) ** 0.25
    density = np.pad(density, ((0, 0), (2, 2)), mode="edge")
    steps = (density[:, 1:] + density[:, :-1]) / 2 * np.diff(x, axis=1)
    return np.concatenate([np.zeros((len(x), 1)), np.cumsum(steps, axis=1)], axis=1)


def _dealt(wanted: np.ndarray, shares: np.ndarray, room: int) -> np.ndarray:
    """Numbers of pieces: as many as are wanted, or as there is room for where a piece has the largest share."""
    counts = np.ones(len(wanted), dtype=int)
    while (counts < wanted).any() and counts.sum() < len(counts) + room:
        counts[np.argmax(np.where(counts < wanted, shares / counts, -1.0))] += 1
    return counts
