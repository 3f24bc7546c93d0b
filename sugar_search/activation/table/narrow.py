"""Points at which to look for what is narrow in g: where a step of its tape is 0, or turns near 0.

What a function does, it does within a few units of its argument around 0: `exp(-u**2)` is a bump there, `tanh(u)` a
step. A grid sees it where u changes little between neighbours. Elsewhere the place is found to the width of a float
and sampled at all distances.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sugar_search.symbolic.steps import Step
from sugar_search.symbolic.tape import Tape, all_registers

__all__ = ["GRID", "MOST_PLACES", "narrow"]


def _grid() -> np.ndarray:
    """Even steps of 1/32 up to 8 (but for the first, half steps); to 0 and out to 2**127 by constant factors."""
    inner = 2.0 ** (-6 - np.arange(0, 37) / 2)
    even = (np.arange(256) + 0.5) / 32
    outer = 2.0 ** np.concatenate([np.arange(3, 24, 0.25), np.arange(24, 127, 0.45)])
    positive = np.concatenate([inner[:0:-1], even, outer]).astype(np.float32).astype(np.float64)
    return np.concatenate([-positive[::-1], [0.0], positive])


GRID: np.ndarray = _grid()
MOST_PLACES = 64  # of a formula; with more it has no table
_SHARP = 1.0  # change of an argument between neighbours of the grid beyond which a bump may lie between them
_SHARPER = 0.5  # relative change, of arguments of functions that are steep near 0 only
_SECTIONS, _ZOOMS = 33, 12  # a zoom narrows a bracket sixteenfold
_POINT = 2.0**-26  # of x: a bracket this narrow holds one float32
_OFFSETS = 2.0 ** -np.arange(0, 42, 0.5)
_OFFSETS = np.concatenate([-_OFFSETS, [0.0], _OFFSETS[::-1]])
_FLOATS = np.arange(-3, 4) * 2.0**-23
_NOTHING = np.zeros(0)

# A register, or the difference of two, and how to tell whether something narrow may lie where it is 0.
_Watched = tuple[int, int | None, str]
_BY_CHANGE = frozenset(("exp", "sigmoid", "tanh", "softplus", "erf", "normal_cdf", "normal_pdf", "atan"))
_BY_RATIO = frozenset(("div", "recip", "sqrt", "pow", "log1p"))
_CONDITIONS = frozenset(("abs", "sign", "gt", "lt", "min", "max"))


@lru_cache(maxsize=64)
def narrow(tape: Tape, breaks: tuple[float, ...]) -> np.ndarray | None:
    """Points around all places where something may be narrow between the points of `GRID`, float64.

    Args:
        tape: of g.
        breaks: where conditions change that need no look, ascending.

    Returns:
        Shape (n,), n = 0 for most formulas; None where there are more than `MOST_PLACES`.
    """
    watched = _watched(tape.steps)
    if not watched:
        return _NOTHING
    with np.errstate(all="ignore"):
        places = _places(tape.steps, watched, GRID, breaks)
        if 0 < len(places) <= MOST_PLACES:
            # Once more beside them: a bump may lie on a bump that the grid does not see.
            places = _apart(np.concatenate([places, _places(tape.steps, watched, _around(places), breaks)]))
    if len(places) > MOST_PLACES:
        return None
    return _around(places)


def _around(places: np.ndarray) -> np.ndarray:
    if not len(places):
        return places
    size = np.abs(places)[:, None]
    x = places[:, None] + np.concatenate([_OFFSETS * np.maximum(1.0, size), _FLOATS * size], axis=1)
    return np.unique(x.astype(np.float32)).astype(np.float64)


def _watched(steps: Sequence[Step]) -> list[_Watched]:
    found: dict[_Watched, None] = {}
    for step in steps:
        op, args = step.op, step.args
        if op in _BY_CHANGE:
            found[args[0], None, "change"] = None
        elif op in _BY_RATIO:
            found[args[-1], None, "ratio"] = None
        elif op in _CONDITIONS:
            found[args[0], args[1] if len(args) > 1 else None, "condition"] = None
    return [one for one in found if steps[one[0]].op != "const" or one[1] is not None]


def _levels(steps: Sequence[Step], watched: Sequence[_Watched], x: np.ndarray) -> np.ndarray:
    """The watched registers at x, (watched, *shape of x)."""
    registers = all_registers(steps, x)
    u = np.empty((len(watched), *x.shape))
    for row, (first, second, _) in zip(u, watched, strict=True):
        row[...] = registers[first] if second is None else registers[first] - registers[second]
    return u


def _places(steps: Sequence[Step], watched: Sequence[_Watched], x: np.ndarray, breaks: Sequence[float]) -> np.ndarray:
    """Where a watched register is 0 or nearest to it, if it changes too fast there for the points x."""
    steps = steps[: 1 + max(max(first, second or 0) for first, second, _ in watched)]
    u = _levels(steps, watched, x)
    row, at = _candidates(u, np.array([kind for *_, kind in watched]), x, np.array(breaks))
    if not len(at):
        return _NOTHING
    low, high = x[at - 1], x[at + 1]
    each = np.arange(len(at))
    for _ in range(_ZOOMS):
        if (high - low <= _POINT * np.maximum(np.abs(low), np.abs(high))).all():
            break
        points = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, _SECTIONS)
        size = np.abs(_levels(steps, watched, points)[row, each])
        best = np.argmin(np.where(np.isnan(size), np.inf, size), axis=1)
        low, high = points[each, np.maximum(best - 1, 0)], points[each, np.minimum(best + 1, _SECTIONS - 1)]
    return _apart((low + high) / 2)


def _apart(places: np.ndarray) -> np.ndarray:
    """The places, sorted, one of those that are one float32."""
    places = np.sort(places)
    return places[np.diff(places, prepend=-np.inf) > 2 * _POINT * np.abs(places)]


def _candidates(u: np.ndarray, kinds: np.ndarray, x: np.ndarray, breaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of u, and points beside which they pass 0 or turn near it, faster than the points x can show."""
    size = np.where(np.isfinite(u), np.abs(u), np.inf)
    left, middle, right = size[:, :-2], size[:, 1:-1], size[:, 2:]
    step = np.abs(np.diff(u))
    step[np.isnan(step)] = 0.0
    change = np.maximum(step[:, :-1], step[:, 1:])
    positive = u > 0
    passes = positive[:, 1:] != positive[:, :-1]
    near = (middle <= left) & (middle <= right) | passes[:, :-1] & (middle <= left) | passes[:, 1:] & (middle < right)
    limit = np.where((kinds == "change")[:, None], _SHARP, _SHARPER * middle)
    row, at = np.nonzero(near & (change > limit))
    at += 1
    # The grid itself is fine beside x = 0; conditions that break g are known.
    wanted = (kinds[row] == "change") | (x[at] != 0) | (size[row, at] != 0)
    if len(breaks):
        known = np.searchsorted(breaks, x[at + 1], "right") > np.searchsorted(breaks, x[at - 1])
        wanted &= (kinds[row] != "condition") | ~known
    return row[wanted], at[wanted]
