"""A second look at two tapes whose fingerprints agree, between the points of the grid.

A fingerprint has 225 points, so a narrow bump or a notch may lie between them. Hence float64 values on a grid fifty
times as fine, and around every point where the argument of a function or a comparison passes or nearly passes 0,
however narrow what happens there. Where the two differ by more than rounding could explain, ball arithmetic decides.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from sugar_search.symbolic.points import values_at
from sugar_search.symbolic.tape import Tape, all_registers

__all__ = ["Look", "both", "differ", "look"]


def _grid() -> np.ndarray:
    """Steps of 1/800 up to 4, of 1/200 up to 12, then a geometric series up to 1000; both signs."""
    near = (np.arange(3200) + 0.381966) / 800
    wide = 4 + (np.arange(1600) + 0.381966) / 200
    positive = np.concatenate([near, wide, np.geomspace(12.0057, 1000, 600)])
    return np.concatenate([-positive[::-1], positive])


_FINE = _grid()
_SECTIONS = 33  # points of each step of a zoom, which narrows a bracket sixteenfold
_ZOOMS = 10
# Places at which one tape is looked at more closely, first and again near those.
_MOST_PLACES, _MOST_AGAIN = 40, 16
# Distances from such a place: whatever happens there on a scale of 1e-12 to 1 is met at its own scale.
_OFFSETS = np.concatenate([-(2.0 ** -np.arange(0, 41)), [0.0], 2.0 ** -np.arange(0, 41)])
_MOST_DECIDED = 32
# A bracket this narrow, relative to its place, is a point.
_POINT = 1e-14
# Below this depth, relative to the register, a minimum is rounding.
_NOISE = 1e-11
_NOT_SHARP = frozenset({"x", "const", "add", "sub", "mul", "neg", "where"})


def differ(a: Tape, b: Tape, scale: float, tolerance: float, jumps: Iterable[float]) -> bool:
    """Whether two finished tapes differ by more than `tolerance * scale` somewhere.

    Not seen are differences in which no argument of a function, divisor or comparison comes near 0: where a narrow
    feature is a product or a difference of wide ones that cancel, say, or sits on a bump so narrow that the first look
    at that bump finds no change within it. Beyond |x| = 1000, and in functions with more than 40 such places, the
    narrow ones may escape too; and where rounding blurs float64 values at very many points, 32 of them decide.

    Args:
        a: one.
        b: the other.
        scale: largest |g|.
        tolerance: relative to it.
        jumps: positions that were compared already, to `tolerance`; floats may lie on either side of them.
    """
    x, one, two = both(a, b)
    with np.errstate(invalid="ignore"):  # inf - inf
        gap = np.abs(one - two)
        doubtful = ~(gap <= tolerance * scale)
    for at in jumps:
        doubtful &= np.abs(x - at) > 2 * tolerance * max(1.0, abs(at))
    if not doubtful.any():
        return False
    points = x[_chosen(np.flatnonzero(doubtful), np.where(np.isnan(gap), 0.0, gap))]
    exact, other = values_at(a, points)[0], values_at(b, points)[0]
    known = np.isfinite(exact) & np.isfinite(other)
    return bool((np.abs(exact[known] - other[known]) > tolerance * scale).any())


def _chosen(doubtful: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """Of many doubtful points: those of the largest gap, and some evenly spread."""
    if len(doubtful) <= _MOST_DECIDED:
        return doubtful
    half = _MOST_DECIDED // 2
    worst = doubtful[np.argsort(-gap[doubtful], kind="stable")[:half]]
    spread = doubtful[np.linspace(0, len(doubtful) - 1, half).astype(int)]
    return np.union1d(worst, spread)


def both(a: Tape, b: Tape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted points, and the values of both tapes there."""
    one, two = look(a), look(b)
    special = np.union1d(one.special, two.special)
    x = np.concatenate([_FINE, special])
    order = np.argsort(x, kind="stable")
    values = [np.concatenate([seen.values, tape.numpy(special)])[order] for seen, tape in ((one, a), (two, b))]
    return x[order], values[0], values[1]


@dataclass(frozen=True, eq=False)
class Look:
    """Values on `_FINE`, and the points around the places where something may be narrow."""

    values: np.ndarray
    special: np.ndarray


@lru_cache(maxsize=64)
def look(tape: Tape) -> Look:
    """What one tape shows on the fine grid, and where to look more closely."""
    with np.errstate(all="ignore"):
        registers = all_registers(tape.steps, _FINE)
        places = _places(tape, _FINE, registers, _MOST_PLACES)
        special = _around(places)
        if places.size:
            # Once more near the places: a bump within a bump, or a comparison with one.
            places = np.union1d(places, _places(tape, special, all_registers(tape.steps, special), _MOST_AGAIN))
            special = _around(places)
    return Look(np.array(np.broadcast_to(registers[-1], _FINE.shape)), special)


def _around(places: np.ndarray) -> np.ndarray:
    return np.unique((places[:, None] + _OFFSETS * np.maximum(1.0, np.abs(places))[:, None]).ravel())


def _watched(tape: Tape) -> list[tuple[int, int | None]]:
    """Registers whose zeros matter: arguments of functions, divisors, and differences of what is compared."""
    found: dict[tuple[int, int | None], None] = {}
    for step in tape.steps:
        if step.op in ("gt", "lt", "min", "max"):
            found[step.args[0], step.args[1]] = None
        elif step.op not in _NOT_SHARP:
            found[step.args[-1], None] = None
    return list(found)


def _level(registers: list[Any], pair: tuple[int, int | None]) -> Any:
    first, second = pair
    return registers[first] if second is None else registers[first] - registers[second]


def _places(tape: Tape, x: np.ndarray, registers: list[Any], most: int) -> np.ndarray:
    """Where a watched register is 0 or nearest to it, shape (n,), to about 1e-13."""
    found = []
    for pair in _watched(tape):
        u = _level(registers, pair)
        if np.ndim(u):
            found += [(depth, k, pair) for depth, k in _candidates(u)]
    found.sort(key=lambda item: -item[0])
    found = found[:most]
    if not found:
        return np.zeros(0)
    at = np.array([k for _, k, _ in found])
    low, high = x[np.maximum(at - 1, 0)], x[np.minimum(at + 1, len(x) - 1)]
    pairs = sorted({pair for *_, pair in found}, key=str)
    rows = [(pair, np.flatnonzero([p == pair for *_, p in found])) for pair in pairs]
    needed = tape.steps[: 1 + max(max(p[0], p[1] or 0) for p in pairs)]
    each = np.arange(len(at))
    for _ in range(_ZOOMS):
        if (high - low <= _POINT * np.maximum(1.0, np.abs(low))).all():
            break
        points = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, _SECTIONS)
        values = all_registers(needed, points)
        size = np.empty(points.shape)
        for pair, mine in rows:
            size[mine] = np.abs(_level(values, pair)[mine])
        best = np.argmin(np.where(np.isnan(size), np.inf, size), axis=1)
        low, high = points[each, np.maximum(best - 1, 0)], points[each, np.minimum(best + 1, _SECTIONS - 1)]
    points = np.sort((low + high) / 2)
    return points[np.diff(points, prepend=-np.inf) > _POINT]


def _candidates(u: np.ndarray) -> Iterator[tuple[float, int]]:
    """Points beside which a register changes sign or is smallest in size, with how sharply it turns there."""
    size = np.abs(np.where(np.isfinite(u), u, np.inf))
    left, middle, right = size[:-2], size[1:-1], size[2:]
    rise = np.minimum(np.maximum(left, right) - middle, 1e300)
    turns = (middle <= left) & (middle <= right) & (rise > _NOISE * (middle + rise))
    crosses = ((u[:-2] > 0) != (u[1:-1] > 0)) & (middle <= left) | ((u[1:-1] > 0) != (u[2:] > 0)) & (middle < right)
    at = np.flatnonzero((turns | crosses) & (rise > 0))
    depth = rise[at] / (middle[at] + 1.0)
    yield from zip(depth.tolist(), (at + 1).tolist())
