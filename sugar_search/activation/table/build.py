"""The table of a surrogate derivative, and the largest error found at samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from sugar_search.activation.table.break_points import break_points
from sugar_search.activation.table.core import Core, with_core
from sugar_search.activation.table.fit import fit
from sugar_search.activation.table.layout import (
    BREAK_WORDS,
    BREAKS,
    CELLS,
    HIGH,
    LOW,
    MAX_BREAKS,
    MAX_PIECES,
    NUMBER_OF_BREAKS,
    NUMBER_OF_PIECES,
    OCTAVES,
    OCTAVES_END,
    PIECES,
    SCALE,
    VERSION,
    WORDS,
)
from sugar_search.activation.table.levels import levels_for, refined
from sugar_search.activation.table.rows import Cut, Rows, cuts, rows
from sugar_search.activation.table.sampled import Sampled, sampled
from sugar_search.activation.table.span import span
from sugar_search.activation.table.steep import beside_0
from sugar_search.activation.table.values import Values, values_of
from sugar_search.symbolic.tape import Tape

__all__ = ["SAMPLED", "Table", "build_table", "with_range"]

SAMPLED = 1e-6  # a table with a larger error is not used by default
WITHIN = 1e-7
_ROUNDS = 5
_FAR_OFF = 4  # times the error aimed at: rounding alone gives 2.5
_SAME = 1e-7  # of max |g|: a value at a break that is this near to a side's limit is that limit
_TAILS = np.ldexp(1.0, [OCTAVES_END, OCTAVES_END + 4, 40, 60, 80, 100, 127])


@dataclass(frozen=True, eq=False)
class Table:
    """A surrogate derivative as data.

    Attributes:
        words: int32 (WORDS,), read-only; see `layout`.
        error: the largest |table - g| found at samples, as a share of max |g|; inf if g has no table.
        scale: the largest |g| found, at samples or as a value of the table.
    """

    words: np.ndarray
    error: float
    scale: float


def build_table(tape: Tape, *, within: float = WITHIN, core: bool = True) -> Table:
    """The table of g.

    Args:
        tape: of an admitted g.
        within: the error to aim at before rounding, as a share of max |g|; missed where pieces run out.
        core: whether the table may have a core.
    """
    found = breaks = cuts(break_points(tape))
    if len(found) > MAX_BREAKS:
        return _none()
    values = values_of(tape)
    with np.errstate(all="ignore"):
        levels, scale = levels_for(values, found, within)
        best: tuple[Rows, np.ndarray, Sampled] | None = None
        for _ in range(_ROUNDS):
            table = rows(levels, found)
            words = _words(values, table, found, scale)
            seen = sampled(tape, values, table, found, words)
            scale = max(scale, seen.scale)
            if best is None or seen.error < best[2].error:
                best = table, words, seen
            before = levels, found
            room = min(
                MAX_BREAKS - _most_stored(words, breaks), MAX_PIECES - int((1 << levels).sum()) - 2 * len(breaks)
            )
            found = beside_0(values, breaks, found, table, seen.by_piece, _FAR_OFF * within, scale, room)
            levels = refined(levels, table.octave, seen.by_piece, _FAR_OFF * within, len(found))
            if found == before[1] and np.array_equal(levels, before[0]):
                break
        assert best is not None
        table, words, seen = best
        if not np.isfinite(seen.error):
            return _none()
        held = with_core(words, values, breaks, seen) if core else None
    return _finished(table, words, seen, held)


def _most_stored(words: np.ndarray, breaks: Sequence[Cut]) -> int:
    """How many of the breaks a table may have to store: all but one at 0 whose sides and value agree."""
    stored = words[BREAKS : BREAKS + BREAK_WORDS * words[NUMBER_OF_BREAKS]].reshape(-1, BREAK_WORDS)
    return len(breaks) - (any(cut.at == 0 for cut in breaks) and (-2, 1) not in map(tuple, stored[:, :2].tolist()))


def _none() -> Table:
    words = np.zeros(WORDS, dtype=np.int32)
    words[0] = VERSION
    words.flags.writeable = False
    return Table(words, inf, 1.0)


def _finished(table: Rows, words: np.ndarray, seen: Sampled, core: Core | None) -> Table:
    c = words[PIECES : PIECES + 4 * words[NUMBER_OF_PIECES]].view(np.float32).reshape(-1, 4).astype(np.float64)
    low, high = span(c, table)
    error = seen.error
    if core is not None:
        words, error = core.words, max(error, core.error)
        low, high = min(low, core.low), max(high, core.high)
    scale = max(seen.scale, abs(low), abs(high))
    words.view(np.float32)[SCALE] = scale
    return _ranged(Table(words, error, scale), low, high)


def _ranged(table: Table, low: float, high: float) -> Table:
    """The table with a range, its ends rounded outwards."""
    words = table.words.copy()
    floats = words.view(np.float32)
    for word, value, outwards in ((LOW, low, -np.inf), (HIGH, high, np.inf)):
        near = np.float32(value)
        inside = near > value if word == LOW else near < value
        floats[word] = np.nextafter(near, np.float32(outwards)) if inside else near
    words.flags.writeable = False
    return replace(table, words=words)


def with_range(table: Table, low: float, high: float) -> Table:
    """The same table, whose codes divide [low, high], widened to hold every value of the table."""
    floats = table.words.view(np.float32)
    return _ranged(table, min(low, float(floats[LOW])), max(high, float(floats[HIGH])))


def _words(values: Values, table: Rows, found: Sequence[Cut], scale: float) -> np.ndarray:
    c = fit(values, table, any(cut.at == 0 for cut in found), scale)
    c[table.octave % OCTAVES == OCTAVES - 1] = 0.0
    for piece, value in zip(table.starts[[OCTAVES - 1, -1]], _tails(values, scale), strict=True):
        c[piece, 0] = value
    breaks, middles = _breaks(c, table, found, scale)
    words = np.zeros(WORDS, dtype=np.int32)
    words[0] = VERSION
    words[NUMBER_OF_BREAKS], words[NUMBER_OF_PIECES] = len(breaks), len(c) + len(middles)
    words[CELLS:BREAKS] = table.starts << 5 | table.shifts
    words[BREAKS : BREAKS + BREAK_WORDS * MAX_BREAKS].reshape(-1, BREAK_WORDS)[: len(breaks), :5] = breaks or 0
    floats = np.concatenate([c, np.array(middles).reshape(-1, 4)]).astype(np.float32)
    floats[np.abs(floats) < np.finfo(np.float32).tiny] = 0.0  # denormals slow kernels down
    words[PIECES : PIECES + floats.size] = floats.view(np.int32).ravel()
    return words


def _tails(g: Values, scale: float) -> tuple[float, float]:
    """The constants of the tails: the limits, or the middle of what is still far from them."""
    found = []
    for sign in (1.0, -1.0):
        values = g(sign * _TAILS)
        limit = float(values[-1])
        slow = not np.abs(values - limit).max() <= _SAME * scale
        found.append(float(values.min() + values.max()) / 2 if slow else limit)
    return found[0], found[1]


def _breaks(
    c: np.ndarray, table: Rows, found: Sequence[Cut], scale: float
) -> tuple[list[tuple[int, int, int, int, int]], list[list[float]]]:
    """The breaks as words, and the constants of the points that belong to neither side."""
    breaks: list[tuple[int, int, int, int, int]] = []
    middles: list[list[float]] = []
    for cut, (left, right), inside in zip(found, table.sides, table.inside, strict=True):
        limits = [float(np.polyval(c[piece, ::-1], cut.at - table.edge[piece])) for piece in (left, right)]
        value = cut.value
        near = [value is not None and abs(value - limit) <= _SAME * scale for limit in limits]
        if cut.at == 0 and value is not None:
            for piece, same in zip((left, right), near, strict=True):
                c[piece, 0] = value if same else c[piece, 0]
        if value is None:
            place = (cut.left, cut.right, -1)
        elif inside and (near[0] or near[1]):
            place = (cut.right - 2, cut.right - 1, -1) if near[1] else (cut.right - 1, cut.right, -1)
        else:
            place = (cut.left, cut.right, len(c) + len(middles))
        if not inside:
            own = all(near) if cut.at == 0 else near[cut.at > 0]
            if value is None or own:
                continue
            left = right
        if place[2] >= 0:
            assert value is not None
            middles.append([value, 0.0, 0.0, 0.0])
        breaks.append((*place[:2], left, right, place[2]))
    return breaks, middles
