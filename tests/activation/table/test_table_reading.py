"""Reading a table: the array code and the map of its pieces agree with the rules taken one float at a time."""

from itertools import pairwise

import numpy as np
import pytest

from sugar_search.activation.table import layout
from sugar_search.activation.table.build import build_table
from sugar_search.activation.table.evaluate import evaluate, pieces_of
from sugar_search.activation.table.served import served
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.tape import Tape

TEXTS = [
    "sigmoid(x)*(1 + x)*exp(-x*x)",
    "where(x > 0.3, where(x < 0.31, 0.5, 1), x*exp(x))",
    "sign(x) + sign(x - 1) + sign(x + 2)",
    "where(x > -0.0001, 1, where(x > -0.00011, 0.5, x*exp(x)))",
]


def one(words, x):
    """The seven steps of the layout for one float32."""
    f = words.view(np.float32)
    x = np.float32(min(max(x, -(2.0**layout.OCTAVES_END)), 2.0**layout.OCTAVES_END))
    bits = int(x.view(np.int32))
    octave = min(max((bits >> 23 & 255) - 126 - layout.FIRST_OCTAVE, 0), 31)
    cell = int(words[layout.CELLS + 32 * (bits < 0) + octave])
    shift = cell & 31
    piece = (cell >> 5) + ((bits & 0x7FFFFF) >> shift)
    place = bits if bits >= 0 else bits ^ 0x7FFFFFFF
    for k in range(words[layout.NUMBER_OF_BREAKS]):
        below, above, only, right, middle = (int(w) for w in words[layout.BREAKS + 8 * k :][:5])
        if piece == only and place >= above:
            piece = right
        if below < place < above and middle >= 0:
            piece = middle
    edge = np.int32(bits & (-1 << shift)).view(np.float32)
    t = x - edge
    c0, c1, c2, c3 = f[layout.PIECES + 4 * piece :][:4]
    return c0 + t * (c1 + t * (c2 + t * c3)), piece, edge


@pytest.mark.parametrize("text", TEXTS)
def test_arrays_are_read_as_single_floats_are(text):
    words = build_table(Tape.of(parse(text))).words
    rng = np.random.default_rng(1)
    bits = rng.integers(-(2**31), 2**31, 600).astype(np.int32)
    some = np.array([0.0, -0.0, 1.0, -2.0, 0.3], dtype=np.float32)
    x = np.concatenate([bits.view(np.float32), rng.normal(size=400).astype(np.float32), some])
    x = x[np.isfinite(x)]
    expected = np.array([one(words, v)[0] for v in x], dtype=np.float32)
    assert np.array_equal(evaluate(words, x), expected)
    assert np.array_equal(evaluate(words, x.astype(np.float64).reshape(-1, 1)), expected.reshape(-1, 1))


@pytest.mark.parametrize("text", TEXTS)
def test_the_map_of_pieces_covers_every_float_once(text):
    words = build_table(Tape.of(parse(text))).words
    parts = served(words)
    assert parts[0].tail and parts[-1].tail
    for before, after in pairwise(parts):
        if before.last == 0 and after.first == 0:
            continue  # -0 and 0
        assert np.nextafter(np.float32(before.last), np.float32(np.inf)) == np.float32(after.first)
    ends = np.array([(part.first, part.last) for part in parts], dtype=np.float32)
    pieces, edges = pieces_of(words, ends.view(np.int32))
    assert (pieces == np.array([part.piece for part in parts])[:, None]).all()
    assert (edges.view(np.float32) == np.array([part.edge for part in parts], dtype=np.float32)[:, None])[1:-1].all()


@pytest.mark.parametrize("text", TEXTS)
def test_t_is_exact_and_stays_within_the_cell(text):
    words = build_table(Tape.of(parse(text))).words
    for part in served(words)[1:-1]:
        for x in (part.first, part.last):
            assert float(np.float32(x) - np.float32(part.edge)) == x - part.edge
            assert abs(x - part.edge) <= max(abs(part.edge), 2.0**layout.FIRST_OCTAVE)
