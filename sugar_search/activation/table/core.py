"""The core of a table: 32 even cells around 0, whose polynomials a processor can hold in its registers.

Only the kernel for AVX-512 reads it (see `layout`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import comb

import numpy as np

from sugar_search.activation.table.layout import (
    CORE,
    CORE_CELL,
    CORE_CELLS,
    CORE_POINT,
    CORE_POINTS,
    CORE_RIGHT,
    CORE_TERMS,
    MAX_POINTS,
    MAX_TERMS,
)
from sugar_search.activation.table.rows import Cut
from sugar_search.activation.table.sampled import Sampled
from sugar_search.activation.table.served import Served
from sugar_search.activation.table.span import FLOAT, rounding
from sugar_search.activation.table.values import Values

__all__ = ["Core", "coefficients_of_core", "core_parts", "core_rounding", "evaluate_core", "with_core"]

_WIDTHS = (0.5, 0.25)
_TERMS = (2, 5, 6, 7)
_WITHIN = 9e-7  # of max |g|, before rounding
_SAMPLED = 9e-7  # a core with a larger error is not used
_SAME = 1e-7  # a value at a break that is this near to a side's limit is that limit
_FLAT = 1e-13  # a smaller share of max |g| is rounding
_HALF = CORE_CELLS // 2
_LEFT = np.arange(CORE_CELLS) - _HALF  # the left ends of the cells, in widths
_CHEBYSHEV = (1 - np.cos((2 * np.arange(MAX_TERMS) + 1) * np.pi / (2 * MAX_TERMS))) / 2
_TO_CHEBYSHEV = np.linalg.inv(np.polynomial.chebyshev.chebvander(2 * _CHEBYSHEV - 1, MAX_TERMS - 1)).T
_TO_POWERS = np.zeros((MAX_TERMS, MAX_TERMS))
for _k in range(MAX_TERMS):
    _terms = np.polynomial.Chebyshev.basis(_k, domain=[0, 1]).convert(kind=np.polynomial.Polynomial).coef
    _TO_POWERS[_k, : len(_terms)] = _terms
_PARTS = 16  # of a cell, to bound the values there


def _from_end(terms: int) -> np.ndarray:
    """From a Chebyshev series on [0, 1] to the powers of the polynomial that meets it at its end 0 and is even beyond.

    The nodes are the roots of a Chebyshev polynomial, stretched until the first lies at 0: a tenth more of an error,
    where moving the constant alone could double it.
    """
    roots = (1 - np.cos((2 * np.arange(terms) + 1) * np.pi / (2 * terms))) / 2
    nodes = (roots - roots[0]) / (1 - roots[0])
    met = np.polynomial.chebyshev.chebvander(2 * nodes - 1, MAX_TERMS - 1)
    powers: np.ndarray = np.linalg.solve(np.vander(nodes, terms, increasing=True), met).T
    return powers


_FROM_END = {terms: _from_end(terms) for terms in _TERMS}


@dataclass(frozen=True)
class Core:
    """A table with its core.

    Attributes:
        words: int32 (WORDS,).
        error: the largest |core - g| found at samples, as a share of max |g|.
        low: no value of the core is smaller, however it is rounded.
        high: no value of the core is larger.
    """

    words: np.ndarray
    error: float
    low: float
    high: float


def with_core(words: np.ndarray, values_at: Values, found: Sequence[Cut], seen: Sampled) -> Core | None:
    """The table with a core, if there is one that is good enough.

    Args:
        words: int32 (WORDS,), without a core.
        values_at: g.
        found: where g or its slope may jump.
        seen: samples of g.
    """
    for width in _WIDTHS:
        inside = [cut for cut in found if abs(cut.at) < width * CORE_CELLS / 2]
        if any(cut.at % width or cut.value is None for cut in inside):
            continue
        made = [_cells(values_at, width, right, inside, seen.scale) for right in (False, True)[: 2 if inside else 1]]
        points, right, c = min(made, key=lambda one: (len(one[0]), one[1]))
        if c is None or len(points) > MAX_POINTS:
            continue
        core = _checked(_words(words, width, right, points, c), seen)
        if core is not None:
            return core
    return None


def _cells(
    values_at: Values, width: float, right: bool, found: Sequence[Cut], scale: float
) -> tuple[list[float], bool, np.ndarray | None]:
    """The breaks that no cell holds rightly, `right`, and coefficients (32, terms), None where they are too coarse."""
    step = -width if right else width
    y = values_at((_LEFT[:, None] + _CHEBYSHEV) * step)
    rest = y - y[:, :1]
    rest[np.abs(rest).max(axis=1) < _FLAT * scale] = 0.0
    series = rest @ _TO_CHEBYSHEV
    left_out = np.cumsum(np.abs(series[:, ::-1]), axis=1)[:, ::-1].max(axis=0) / scale
    left_out = np.append(left_out, left_out[-1] / 4)
    terms = next((n for n in _TERMS if left_out[n] <= _WITHIN), None)
    if terms is None:
        return [], right, None
    c = series[:, :terms] @ _TO_POWERS[:terms, :terms]
    c[:, 0] += y[:, 0]
    points = []
    values = {cut.at: cut.value for cut in found}
    if 0.0 not in values:
        values[0.0] = float(values_at(np.zeros(1))[0])
    for at, value in values.items():
        first = round(at / step) + _HALF
        if value is None or abs(c[first, 0] - value) > (_SAME + _WITHIN) * scale:
            points.append(at)
        else:
            c[first] = series[first] @ _FROM_END[terms]
            c[first, 0] = value
    c /= step ** np.arange(terms)
    return points, right, c[::-1] if right else c


def _words(words: np.ndarray, width: float, right: bool, points: list[float], c: np.ndarray) -> np.ndarray:
    words = words.copy()
    floats = words.view(np.float32)
    words[CORE_TERMS], floats[CORE_CELL] = c.shape[1], width
    words[CORE_RIGHT], words[CORE_POINTS] = right, len(points)
    floats[CORE_POINT : CORE_POINT + len(points)] = points
    single = c.astype(np.float32)
    single[np.abs(single) < np.finfo(np.float32).tiny] = 0.0  # denormals slow kernels down; nor is there a -0
    floats[CORE : CORE + single.size] = single.T.ravel()
    return words


def _checked(words: np.ndarray, seen: Sampled) -> Core | None:
    """The core with its error and range; None if the error is too large."""
    got, held = evaluate_core(words, seen.x)
    gap = np.abs(got[held].astype(np.float64) - seen.true[held])
    error = float(np.nanmax(gap, initial=0.0)) / seen.scale
    if not error <= _SAMPLED:
        return None
    c = coefficients_of_core(words)
    width = float(words.view(np.float32)[CORE_CELL])
    step = -width if words[CORE_RIGHT] else width
    values = (c * step ** np.arange(MAX_TERMS)) @ _bernstein()
    room = core_rounding(c, width)[:, None]
    return Core(words, error, float((values - room).min()), float((values + room).max()))


@cache
def _bernstein() -> np.ndarray:
    """From powers on [0, 1] to the Bernstein coefficients of each part of it, between which the values lie.

    Source: G. Farin, Curves and Surfaces for CAGD, chapter 5.
    """
    n = MAX_TERMS - 1
    to_bernstein = np.array([[comb(j, k) / comb(n, k) for j in range(MAX_TERMS)] for k in range(MAX_TERMS)])
    blocks = []
    for part in range(_PARTS):
        shifted = np.array(
            [
                [comb(k, j) * float(part) ** (k - j) if j <= k else 0.0 for j in range(MAX_TERMS)]
                for k in range(MAX_TERMS)
            ]
        )
        blocks.append((shifted / float(_PARTS) ** np.arange(MAX_TERMS)[:, None]) @ to_bernstein)
    return np.concatenate(blocks, axis=1)


def coefficients_of_core(words: np.ndarray) -> np.ndarray:
    """float64 (32, 8), by ascending edge."""
    return words[CORE:].view(np.float32).reshape(MAX_TERMS, CORE_CELLS).T.astype(np.float64)


def core_rounding(c: np.ndarray, width: float) -> np.ndarray:
    """How far float32 evaluation may stray from each cell's polynomial; t is rounded too, beside 0.

    Args:
        c: (32, 8).
        width: of a cell.
    """
    size = np.full(len(c), width)
    slope = np.abs(c[:, 1:]) @ (np.arange(1, MAX_TERMS) * width ** np.arange(MAX_TERMS - 1))
    bound: np.ndarray = rounding(c, size) + FLOAT * width * slope
    return bound


def core_parts(words: np.ndarray) -> list[Served]:
    """The parts of the line that the core serves, one for each cell, ascending; none without a core."""
    if not words[CORE_TERMS]:
        return []
    floats = words.view(np.float32)
    right, width = int(words[CORE_RIGHT]), floats[CORE_CELL]
    points = floats[CORE_POINT : CORE_POINT + words[CORE_POINTS]]
    parts = []
    for cell, left in enumerate(_LEFT * width):
        low, high = np.float32(left), np.float32(left + width)
        edge = high if right else low
        if right or low in points:
            low = np.nextafter(low, high)
        if not right or high in points:
            high = np.nextafter(high, low)
        parts.append(Served(cell, float(edge), float(low), float(high), False))
    return parts


def evaluate_core(words: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """g by the core, as the kernel computes it, but for fused steps that float64 rounds twice.

    Args:
        words: int32 (WORDS,), with a core.
        x: float32 (n,).

    Returns:
        float32 (n,), and bool (n,): whether the core holds x.
    """
    floats = words.view(np.float32)
    width = floats[CORE_CELL]
    points = floats[CORE_POINT : CORE_POINT + words[CORE_POINTS]]
    right = words[CORE_RIGHT]
    with np.errstate(over="ignore", invalid="ignore"):
        k = (np.ceil if right else np.floor)(x / width)
    held = (k >= right - _HALF) & (k < right + _HALF) & ~(x[:, None] == points).any(axis=1)
    k = np.where(held, k, np.float32(0))
    t = (np.where(held, x, np.float32(0)) - k * width).astype(np.float64)
    cell = k.astype(np.int32) + (_HALF - right)
    rows = floats[CORE:].reshape(MAX_TERMS, CORE_CELLS)
    g = rows[words[CORE_TERMS] - 1, cell]
    for k in range(words[CORE_TERMS] - 2, -1, -1):
        g = (g * t + rows[k, cell]).astype(np.float32)
    return g, held
