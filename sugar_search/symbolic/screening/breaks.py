"""Where functions on a grid jump between two of its points, so that those that jump elsewhere are told apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sugar_search.symbolic.screening import field

__all__ = ["NONE", "Breaks", "crossings", "joined", "marks"]

# Positions are compared in steps of 1e-9; two of one function differ by about 1e-16.
_STEP = 2.0**30
_NEAR = 1e-9
# Branches that differ by less than this, relative to their size, meet: a kink, which the values on either side tell.
_MEET = 1e-6


@dataclass(frozen=True)
class Breaks:
    """Jumps of many functions, in any order.

    Attributes:
        rows: which function, shape (n,).
        cells: the grid point before each, shape (n,).
        at: positions, shape (n,).
    """

    rows: np.ndarray
    cells: np.ndarray
    at: np.ndarray

    def moved(self, rows: np.ndarray) -> "Breaks":
        """The same with other numbers for the functions: row i becomes rows[i]."""
        return Breaks(rows[self.rows], self.cells, self.at)


NONE = Breaks(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))


def joined(parts: Sequence[Breaks]) -> Breaks:
    """All of them."""
    if len(parts) == 1:
        return parts[0]
    return Breaks(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "cells", "at")))


def crossings(grid: np.ndarray, d: np.ndarray, u: Any, v: Any, rows: int) -> tuple[Breaks, np.ndarray]:
    """Where d > 0 changes and u and v do not meet.

    The position is that of a straight line between the two points. That is exact for x against a constant, and for
    other conditions a number that changes with them, which serves as well for telling functions apart.

    Args:
        grid: shape (points,).
        d: shape (rows, points) or (1, points).
        u: the values where d > 0, of any shape that broadcasts to (rows, points).
        v: the values elsewhere.
        rows: how many functions.

    Returns:
        The breaks, and which rows have two of them around a single point, shape (rows,).
    """
    above = d > 0
    flips = above[:, 1:] != above[:, :-1]
    alone = np.broadcast_to((flips[:, 1:] & flips[:, :-1]).any(axis=1), rows)
    own, cells = np.nonzero(flips)
    left, right = d[own, cells], d[own, cells + 1]
    if len(d) == 1:
        own, cells = np.repeat(np.arange(rows), len(cells)), np.tile(cells, rows)
        left, right = np.tile(left, rows), np.tile(right, rows)
    share = left / (left - right)
    share = np.where(np.isfinite(share), share, 0.5)
    shape = (rows, len(grid))
    gap, size = (np.broadcast_to(a, shape) for a in (np.subtract(u, v), np.maximum(np.abs(u), np.abs(v))))
    jump = (1 - share) * gap[own, cells] + share * gap[own, cells + 1]
    meets = np.abs(jump) <= _MEET * np.maximum(size[own, cells], size[own, cells + 1])
    at = grid[cells] + share * (grid[cells + 1] - grid[cells])
    return Breaks(own[~meets], cells[~meets], at[~meets]), alone


def marks(breaks: Breaks, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each function a hash of its set of breaks, uint64, and whether two different ones share a cell.

    Args:
        breaks: of what the functions are made of. Those within a flat stretch of a function do nothing there: it may
            be 0 times them.
        values: of the functions, shape (rows, points).
    """
    found, crowded = np.zeros(len(values), dtype=np.uint64), np.zeros(len(values), dtype=bool)
    order = np.lexsort((breaks.at, breaks.rows))
    own, cells, at = breaks.rows[order], breaks.cells[order], breaks.at[order]
    follows = own[1:] == own[:-1]
    again = follows & (at[1:] - at[:-1] <= _NEAR * np.maximum(1.0, np.abs(at[1:])))
    crowded[own[1:][follows & ~again & (cells[1:] == cells[:-1])]] = True
    first = np.concatenate([[True], ~again]) if len(own) else np.zeros(0, dtype=bool)
    around = np.clip(cells[:, None] + np.arange(-1, 3), 0, values.shape[1] - 1)
    beside = values[own[:, None], around]
    first &= (beside != beside[:, :1]).any(axis=1)
    steps = np.rint(at[first] * _STEP).astype(np.int64).view(np.uint64)
    np.add.at(found, own[first], field.mixed(steps + np.uint64(1)))
    return found, crowded
