"""Which floats each piece of a table serves, read off its words alone."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sugar_search.activation.table.layout import (
    ABOVE,
    BELOW,
    BREAK_WORDS,
    BREAKS,
    CELL,
    CELLS,
    FIRST_OCTAVE,
    MIDDLE,
    NUMBER_OF_BREAKS,
    NUMBER_OF_PIECES,
    OCTAVES,
    OCTAVES_END,
    PIECES,
    RIGHT,
)

__all__ = ["Served", "coefficients", "served"]


@dataclass(frozen=True)
class Served:
    """All floats from `first` to `last` read this piece, with this edge.

    Attributes:
        piece: index.
        edge: where t is 0.
        first: smallest float.
        last: largest float.
        tail: whether it also serves all |x| beyond the octaves.
    """

    piece: int
    edge: float
    first: float
    last: float
    tail: bool


def coefficients(words: np.ndarray) -> np.ndarray:
    """float32 (pieces, 4)."""
    return words[PIECES : PIECES + 4 * int(words[NUMBER_OF_PIECES])].view(np.float32).reshape(-1, 4)


def served(words: np.ndarray) -> list[Served]:
    """The parts of the line, ascending, and -0 beside 0: every float lies in one of them."""
    breaks = words[BREAKS : BREAKS + BREAK_WORDS * words[NUMBER_OF_BREAKS]].reshape(-1, BREAK_WORDS).tolist()
    found = []
    for sign in (1, 0):
        parts: list[Served] = []
        for octave in range(OCTAVES):
            parts += _octave(int(words[CELLS + sign * OCTAVES + octave]), sign, octave, breaks)
        found += sorted(parts, key=lambda part: part.first)
    return found


def _octave(entry: int, sign: int, octave: int, breaks: list[list[int]]) -> list[Served]:
    piece, shift = entry >> 5, entry & 31
    end = (OCTAVES_END + 127) << 23
    if octave == OCTAVES - 1:
        return [Served(piece, 0.0, *(_float(end, sign),) * 2, True)]
    start = (126 + FIRST_OCTAVE + octave) << 23 if octave else 0
    stop = (127 + FIRST_OCTAVE + octave) << 23
    found = []
    step = 1 << shift if octave else stop
    for k, first in enumerate(range(start, stop, step)):
        low, high = (first, first + step - 1) if not sign else (~(first + step - 1), ~first)
        for part, a, b in _cut(piece + k, low, high, breaks):
            found.append(Served(part, _float(first, sign), _of_order(a), _of_order(b), False))
    return found


def _cut(piece: int, low: int, high: int, breaks: list[list[int]]) -> list[tuple[int, int, int]]:
    """The pieces that the orders from low to high read, by the rule of `layout`."""
    places = {low, high + 1}
    for one in breaks:
        places |= {place for place in (one[BELOW] + 1, one[ABOVE]) if low < place <= high}
    ordered = sorted(places)
    return [(_read(piece, a, breaks), a, b - 1) for a, b in pairwise(ordered)]


def _read(piece: int, place: int, breaks: list[list[int]]) -> int:
    for one in breaks:
        if piece == one[CELL] and place >= one[ABOVE]:
            piece = one[RIGHT]
        if one[BELOW] < place < one[ABOVE] and one[MIDDLE] >= 0:
            piece = one[MIDDLE]
    return piece


def _float(bits: int, sign: int) -> float:
    return float(np.int32(bits).view(np.float32)) * (-1.0 if sign else 1.0)


def _of_order(place: int) -> float:
    return float(np.int32(place if place >= 0 else place ^ 0x7FFFFFFF).view(np.float32))
