"""Proven errors: never under what samples show, small where g is smooth, and not to be had by a wrong table."""

from dataclasses import replace

import numpy as np
import pytest

from sugar_search import catalog
from sugar_search.activation.accuracy import DTYPES, inputs, reference
from sugar_search.activation.table.build import build_table
from sugar_search.activation.table.evaluate import evaluate, pieces_of
from sugar_search.activation.table.layout import ABOVE, BREAKS, CELLS, MIDDLE, OCTAVES, OCTAVES_END, PIECES
from sugar_search.activation.table.proof import proven_error
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape

X = np.concatenate([inputs(dtype).double().numpy() for dtype in DTYPES.values()])
BROKEN = [
    "where(x < -3, 0, where(x <= 3, (2*x + 3)/6, 1))",
    "where(x > 0.3, where(x < 0.31, 0.5, 1), 0.2)",
    "where(x > 1, where(x < 1.0000001, 0, 1), 0.5)",
    "sign(x) + sign(x - 1) + sign(x + 2)",
    "max(sigmoid(x), 0.8*exp(-x**2))",
    "where(x**2 > 2, 1, 0)",
    "min(1, max(0, 0.5 + x/7))",
    "x/(1 + x**2)",
]


def tape_of(text):
    return Tape.of(parse(text))


def brute(tape, table):
    got = evaluate(table.words, X).astype(np.float64)
    exact = reference(tape, X, got)
    return np.abs(got - exact).max() / np.abs(exact).max()


@pytest.mark.parametrize("name", catalog.names("surrogates"))
def test_families_are_proven_within_a_millionth(name):
    tape = surrogate(name).tape
    table = build_table(tape)
    proven = proven_error(tape, table)
    assert max(table.error, brute(tape, table)) <= proven <= 1e-6


@pytest.mark.parametrize("text", BROKEN)
def test_jumps_kinks_and_heavy_tails_are_proven(text):
    tape = tape_of(text)
    table = build_table(tape)
    proven = proven_error(tape, table)
    assert max(table.error, brute(tape, table)) <= proven <= 1e-5


def test_a_wrong_coefficient_anywhere_is_found():
    tape = surrogate("bsilu").tape
    table = build_table(tape)
    rng = np.random.default_rng(0)
    for x in np.concatenate([rng.normal(size=5), [1e-4, -1e-3, 3e5, -1e7]]).astype(np.float32):
        words = table.words.copy()
        end = np.float32(2.0**OCTAVES_END)
        piece = int(pieces_of(words, np.clip(x, -end, end).reshape(1).view(np.int32))[0][0])
        words.view(np.float32)[PIECES + 4 * piece] += 1e-3
        assert proven_error(tape, replace(table, words=words)) >= 0.999e-3 / table.scale, x


def test_a_jump_one_float_too_late_is_found():
    tape = tape_of("where(x > 0.1, 1, 0.25)")
    table = build_table(tape)
    words = table.words.copy()
    words[BREAKS + ABOVE] += 1
    assert proven_error(tape, table) < 1e-9
    assert proven_error(tape, replace(table, words=words)) >= 0.75


def test_a_wrong_value_at_a_jump_is_found():
    tape = tape_of("sign(x - 1)")
    table = build_table(tape)
    words = table.words.copy()
    words[BREAKS + MIDDLE] = -1
    assert proven_error(tape, table) == 0.0
    assert proven_error(tape, replace(table, words=words)) == 1.0


def test_a_tail_that_is_not_the_limit_is_found():
    tape = surrogate("gelu").tape
    table = build_table(tape)
    words = table.words.copy()
    last = int(words[CELLS + OCTAVES - 1]) >> 5
    words.view(np.float32)[PIECES + 4 * last] = 0.999
    assert proven_error(tape, replace(table, words=words)) >= 0.99e-3 / table.scale


def test_a_bound_is_true_where_no_table_is_good():
    tape = tape_of("1/(1 + log1p(abs(x)))")
    table = build_table(tape)
    assert table.error < proven_error(tape, table) < 0.2


def test_what_certificates_do_not_resolve_is_not_proven():
    tape = tape_of("sqrt(1 - exp(-x**2))")  # a root of a double zero
    table = build_table(tape)
    assert table.error < 1e-6 and proven_error(tape, table) is None
    stairs = tape_of("+".join(f"sign(x - {k})" for k in range(20)))
    assert proven_error(stairs, build_table(stairs)) is None
