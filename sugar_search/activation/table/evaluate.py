"""A table read in numpy, float32 step by step: what every kernel must give."""

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
    OCTAVES,
    OCTAVES_END,
    PIECES,
    RIGHT,
)

__all__ = ["evaluate", "order", "pieces_of"]

_END = np.float32(2.0**OCTAVES_END)


def order(bits: np.ndarray) -> np.ndarray:
    """Words of floats as signed numbers that are ordered as the floats are; -0 comes just before 0."""
    return np.where(bits >= 0, bits, bits ^ np.int32(0x7FFFFFFF))


def pieces_of(words: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The piece that each float reads, and the word of the edge that its `t` starts from.

    Args:
        words: int32 (WORDS,).
        bits: words of the floats, int32 of any shape, clamped to the octaves.

    Returns:
        int32 (shape of bits): pieces, and words of the edges.
    """
    octave = np.clip((bits >> 23 & 255) - (126 + FIRST_OCTAVE), 0, OCTAVES - 1)
    entry = words[CELLS + octave + (bits < 0) * OCTAVES]
    shift = entry & 31
    piece = (entry >> 5) + ((bits & 0x7FFFFF) >> shift)
    if words[NUMBER_OF_BREAKS]:
        place = order(bits)
        for one in words[BREAKS : BREAKS + BREAK_WORDS * words[NUMBER_OF_BREAKS]].reshape(-1, BREAK_WORDS):
            piece = np.where((piece == one[CELL]) & (place >= one[ABOVE]), one[RIGHT], piece)
            if one[MIDDLE] >= 0:
                piece = np.where((place > one[BELOW]) & (place < one[ABOVE]), one[MIDDLE], piece)
    return piece, bits & (np.int32(-1) << shift)


def evaluate(words: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g by a table, float32.

    Args:
        words: int32 (WORDS,).
        x: any shape; rounded to float32 first.

    Returns:
        float32 (shape of x); NaN where x is.
    """
    x = np.asarray(x)
    with np.errstate(over="ignore", invalid="ignore"):
        at = np.clip(x.astype(np.float32), -_END, _END)
        piece, edge = pieces_of(words, at.view(np.int32))
        t = at - edge.view(np.float32)
        c = words[PIECES:].view(np.float32).reshape(-1, 4)[piece]
        value: np.ndarray = c[..., 0] + t * (c[..., 1] + t * (c[..., 2] + t * c[..., 3]))
    return value
