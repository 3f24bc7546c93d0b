"""The pieces of a table before their coefficients are known: which part of the line each of them serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sugar_search.activation.table.break_points import BreakPoint
from sugar_search.activation.table.layout import FIRST_OCTAVE, OCTAVES, OCTAVES_END

__all__ = ["BORDERS", "MIDDLES", "SIGNS", "WIDTHS", "Cut", "Rows", "cut_between", "cuts", "rows"]

_ALL = 2 * OCTAVES
_OCTAVE = np.tile(np.arange(OCTAVES), 2)
SIGNS: np.ndarray = np.repeat([1.0, -1.0], OCTAVES)
BORDERS: np.ndarray = np.where(_OCTAVE == 0, 0.0, 2.0 ** (FIRST_OCTAVE - 1.0 + _OCTAVE))  # towards 0, |x|
WIDTHS: np.ndarray = np.where(_OCTAVE == 0, 2.0**FIRST_OCTAVE, BORDERS)
MIDDLES: np.ndarray = (_OCTAVE > 0) & (_OCTAVE < OCTAVES - 1)  # the octaves that may be cut into cells


@dataclass(frozen=True)
class Cut:
    """A break point among the floats, told by their order (see `layout`).

    Attributes:
        at: where.
        left: order of the last float32 before it.
        right: order of the first float32 after it.
        value: g there if a float32 (or -0 and 0) equals it, else None.
    """

    at: float
    left: int
    right: int
    value: float | None


@dataclass(frozen=True)
class Rows:
    """One row a piece: those of the cells first, then what lies behind breaks within cells.

    Attributes:
        shifts: the 64 shifts of the octaves.
        starts: first piece of each octave.
        octave: 0 to 63, by sign and octave.
        edge: where t is 0.
        near: the end towards 0 of the part of the line that the piece serves.
        width: from there to the other end, with the sign of x.
        sides: for each cut the pieces to its left and right.
        inside: for each cut whether both were one cell.
    """

    shifts: np.ndarray
    starts: np.ndarray
    octave: np.ndarray
    edge: np.ndarray
    near: np.ndarray
    width: np.ndarray
    sides: tuple[tuple[int, int], ...]
    inside: tuple[bool, ...]


def cuts(points: Sequence[BreakPoint]) -> list[Cut]:
    """The break points inside the octaves."""
    return [_cut(point) for point in points if abs(point.at) < 2.0**OCTAVES_END]


def _cut(point: BreakPoint) -> Cut:
    if point.at == 0:
        return Cut(0.0, -2, 1, point.value)
    near = np.float32(float(point.at))
    here = _order(near)
    if point.value is not None:
        return Cut(float(point.at), here - 1, here + 1, point.value)
    if Fraction(float(near)) > point.at:
        here -= 1
    return Cut(float(point.at), here, here + 1, None)


def cut_between(at: float) -> Cut:
    """A cut where g does nothing special."""
    near = np.float32(at)
    here = _order(near)
    return Cut(float(near), here - 1, here, None)


def _order(x: np.float32) -> int:
    bits = int(x.view(np.int32))
    return bits if bits >= 0 else bits ^ 0x7FFFFFFF


def rows(levels: np.ndarray, found: Sequence[Cut]) -> Rows:
    """The pieces when octave q is cut into 2**levels[q] cells, and cells at breaks.

    Args:
        levels: int (64,), 0 in the first and last octave of each sign.
        found: the cuts, ascending.
    """
    count = 1 << levels
    starts = np.cumsum(count) - count
    octave = np.repeat(np.arange(_ALL), count)
    h = (WIDTHS / count)[octave]
    inner = np.arange(len(octave)) - starts[octave]
    sign = SIGNS[octave]
    edge = sign * (BORDERS[octave] + inner * h)
    shifts = np.where(MIDDLES, 23 - levels, 31)
    base = Rows(shifts, starts, octave, edge, edge, sign * h, (), ())
    return _broken(base, found) if found else base


def _broken(base: Rows, found: Sequence[Cut]) -> Rows:
    octave, edge = list(base.octave), list(base.edge)
    near, width = base.near.copy().tolist(), base.width.copy().tolist()
    last: dict[int, int] = {}  # the piece at the right end of a cell so far
    sides, inside = [], []
    for cut in found:
        left, right = (_piece(base, place) for place in (cut.left, cut.right))
        inside.append(left == right)
        before = last.get(left, left)
        if left == right:
            new = len(octave)
            octave.append(base.octave[left])
            edge.append(base.edge[left])
            if cut.at > 0:
                end = near[before] + width[before]
                width[before] = cut.at - near[before]
                near.append(cut.at)
                width.append(end - cut.at)
            else:
                near.append(near[before])
                width.append(cut.at - near[before])
                width[before] -= cut.at - near[before]
                near[before] = cut.at
            last[left] = right = new
        sides.append((before, right))
    a, b, c, d = (np.array(column) for column in (octave, edge, near, width))
    return Rows(base.shifts, base.starts, a, b, c, d, tuple(sides), tuple(inside))


def _piece(base: Rows, place: int) -> int:
    """The piece of a cell that holds the float of this order."""
    bits = place if place >= 0 else place ^ 0x7FFFFFFF
    octave = min(max((bits >> 23 & 255) - 126 - FIRST_OCTAVE, 0), OCTAVES - 1) + (OCTAVES if place < 0 else 0)
    return int(base.starts[octave]) + ((bits & 0x7FFFFF) >> int(base.shifts[octave]))
