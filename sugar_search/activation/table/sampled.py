"""The error of a table at samples: between the nodes of every piece, beside breaks and far out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sugar_search.activation.table.evaluate import evaluate, pieces_of
from sugar_search.activation.table.layout import OCTAVES_END
from sugar_search.activation.table.rounding import rounding_bound
from sugar_search.activation.table.rows import Cut, Rows
from sugar_search.activation.table.straight import Line, straight
from sugar_search.activation.table.values import Values
from sugar_search.symbolic.tape import Tape

__all__ = ["Sampled", "sampled"]

# Where the error of a Chebyshev interpolant is largest.
_AT = np.array([0.0, 0.146446609, 0.5, 0.853553391, 1 - 2.0**-22])
# A bump that is narrow beside its octave may lie between the samples of a piece: evenly too, and where a straight line
# u within the formula is of the size of 1, as functions of u bend there.
_EVEN = np.arange(-255.5, 256) / 32
_BENDS = np.linspace(-4, 4, 33)
_MOST_LINES = 12
_DOUBTFUL, _SOUND = 1e-6, 1e-9  # of max |g|
_END = 2.0**OCTAVES_END
_FAR = np.outer([-1.37, -1.0, 1.0, 1.37], 2.0 ** np.arange(OCTAVES_END, 127)).astype(np.float32)


@dataclass(frozen=True)
class Sampled:
    """What samples show.

    Attributes:
        error: largest |table - g| over max |g|; inf if a value is not finite, or all are 0.
        scale: max |g|.
        by_piece: errors of the pieces.
    """

    error: float
    scale: float
    by_piece: np.ndarray


def sampled(tape: Tape, values: Values, rows: Rows, found: Sequence[Cut], words: np.ndarray) -> Sampled:
    """Compares a table with the values of g."""
    inside = (rows.near[:, None] + rows.width[:, None] * _AT).astype(np.float32)
    free = np.concatenate([_EVEN, *_bends(tape)]).astype(np.float32)
    beside = _beside(found)
    x = np.concatenate([inside.ravel(), free, _FAR.ravel(), beside])
    true = values(x.astype(np.float64))
    for cut in found:
        if cut.value is not None:
            true[x == cut.at] = cut.value
    gap = np.abs(evaluate(words, x).astype(np.float64) - true)
    scale = float(np.abs(true).max())
    if not 0 < scale < np.inf:
        return Sampled(np.inf, 1.0, np.zeros(len(rows.octave)))
    gap /= scale
    by_piece = gap[: inside.size].reshape(inside.shape).max(axis=1)
    elsewhere = gap[inside.size : inside.size + len(free)]
    if elsewhere.max() > by_piece.max():
        pieces = pieces_of(words, free.view(np.int32))[0]
        known = pieces < len(by_piece)  # not the value of a break point
        np.maximum.at(by_piece, pieces[known], elsewhere[known])
    if gap[-len(beside) :].max() > _DOUBTFUL:
        # So near a condition float64 may take the other side.
        bound = rounding_bound(tape, beside.astype(np.float64))[1]
        gap[-len(beside) :][bound > _SOUND * scale] = 0.0
    error = float(gap.max())
    return Sampled(error if np.isfinite(error) else np.inf, scale, by_piece)


def _bends(tape: Tape) -> list[np.ndarray]:
    """Where the straight lines in x that a formula holds are between -4 and 4."""
    lines: list[Line | None] = []
    found: dict[Line, None] = {}
    for step in tape.steps:
        line = _line(step.op, step.value, [lines[a] for a in step.args])
        lines.append(line)
        if line is not None and line[0]:
            found[line] = None
    return [((_BENDS - offset) / slope).clip(-_END, _END) for slope, offset in list(found)[:_MOST_LINES]]


def _line(op: str, value: float | None, args: list[Line | None]) -> Line | None:
    """Slope and offset of a step that is a straight line; None if it is none."""
    if not args:
        return (1.0, 0.0) if op == "x" else (0.0, value or 0.0)
    return straight(op, args)


def _beside(found: Sequence[Cut]) -> np.ndarray:
    """The floats at and next to breaks, and the zeros."""
    places = [0, -1, 1, -2]
    for cut in found:
        places += range(cut.left - 1, cut.right + 2)
    orders = np.array(places, dtype=np.int64)
    return np.where(orders >= 0, orders, orders ^ 0x7FFFFFFF).astype(np.int32).view(np.float32)
