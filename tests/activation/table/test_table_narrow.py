"""Narrow features: whatever they are narrow in, a table holds them or its error tells."""

import numpy as np
import pytest

from sugar_search.activation.table.break_points import break_points
from sugar_search.activation.table.build import SAMPLED, build_table
from sugar_search.activation.table.evaluate import evaluate
from sugar_search.activation.table.layout import OCTAVES_END
from sugar_search.activation.table.narrow import GRID, MOST_PLACES, narrow
from sugar_search.activation.table.values import values_of
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape

END = 2**OCTAVES_END
# A formula, a place within its narrow feature, and the feature's width.
NARROW = [
    ("exp(-x**2) + exp(-(100*(x**2 - 8.41))**2)", 2.9, 1e-3),
    ("1/(1 + abs(x))**2 + exp(-(2000*(abs(x) - 3.3))**2)", -3.3, 1e-3),
    ("exp(-x**2) + exp(-(500*(exp(x) - 20))**2)", np.log(20), 1e-4),
    ("exp(-x**2) + exp(-(3000*(sigmoid(x) - 0.7))**2)", np.log(7 / 3), 1e-3),
    ("exp(-x**2) + normal_pdf(100000*(x*exp(-x) - 0.3))", 0.4894022, 1e-4),
    ("exp(-x**2) + 1e-9/((x - 3)**2 + 1e-9)", 3.0, 1e-4),
    ("exp(-x**2) + sigmoid(1000000*(x - 3)) - sigmoid(1000000*(x - 3.00001))", 3.000005, 1e-5),
    ("exp(-x**2) + exp(-(100*(exp(-(1000*(x - 3))**2) - 0.5))**2)", 3 + np.sqrt(np.log(2)) / 1000, 1e-5),
    ("exp(-x**2) + exp(-(1000*(x - 1)*(x - 1.01)*(x - 2))**2)", 1.01, 0.1),
    ("exp(-x**2) + exp(-(20*(x - 100))**2)", 100.0, 0.05),
    ("exp(-x**2) + exp(-(x - 5000000)**2)", 5e6, 1.0),
    (f"exp(-x**2) + exp(-((x + {END + 10**6})/100000)**2)", -END - 1e6, 1e5),
    ("exp(-x**2) + exp(-(x/1000000 - 500)**2)", 5e8, 1e6),
    (f"where(x > {END + 1000}, where(x < {END + 9000}, 1, 0), exp(-x*x))", END + 5e3, 1e3),
    (f"where(abs(x + {2 * END}) < 100, 1, exp(-x*x))", -2 * END, 10.0),
]


def tape_of(text):
    return Tape.of(parse(text))


def error_at(tape, table, at, width):
    """The error of a table around a place, as a share of max |g|."""
    x = (at + width * np.linspace(-10, 10, 20_001)).astype(np.float32)
    return np.abs(evaluate(table.words, x) - values_of(tape)(x.astype(np.float64))).max() / table.scale


@pytest.mark.parametrize(("text", "at", "width"), NARROW)
def test_the_error_tells_of_a_narrow_feature(text, at, width):
    tape = tape_of(text)
    table = build_table(tape)
    assert table.error > SAMPLED
    assert error_at(tape, table, at, width) <= 3 * table.error


@pytest.mark.parametrize("text", ["exp(-x**2) + exp(-(2*(x**2 - 8.41))**2)", "exp(-(20*(sigmoid(x) - 0.7))**2)"])
def test_a_feature_that_cells_can_hold_is_held(text):
    tape = tape_of(text)
    table = build_table(tape)
    assert table.error <= SAMPLED
    assert error_at(tape, table, 0, 1.0) <= SAMPLED


@pytest.mark.parametrize("inner", ["x", "x**2", "exp(x)", "tanh(x)", "log1p(x**2)", "x*exp(-x)", "x*sigmoid(x)"])
@pytest.mark.parametrize("bump", ["exp(-({})**2)", "max(0, 1 - abs({}))", "1/(1 + ({})**2)", "1 - tanh({})**2"])
def test_bumps_on_any_function_at_any_place(inner, bump):
    rng = np.random.default_rng(len(inner) + 100 * len(bump))
    for _ in range(6):
        at, slope = rng.uniform(0.1, 0.9) * rng.choice([1, 4]), 10 ** rng.uniform(1, 4)
        level = float(tape_of(inner).numpy(np.array([at]))[0])
        tape = tape_of("0.5*exp(-x**2) + " + bump.format(f"{slope}*({inner} - {level!r})"))
        table = build_table(tape)
        # A table that is used is right; the figure of one that is not need only refuse it.
        assert table.error > SAMPLED or error_at(tape, table, at, 1 / slope) <= 2 * SAMPLED


def test_a_formula_with_more_places_than_are_looked_at_has_no_table():
    # Each is met on both sides of 0, but for the first.
    bumps = [f"exp(-abs(10000*tanh(x)**2 - {100 * k}))" for k in range(MOST_PLACES // 2 + 3)]
    steps, many = parse(bumps[1]), sum(parse(bump) for bump in bumps)
    assert build_table(Tape.of(many)).error == np.inf
    assert np.isfinite(build_table(Tape.of(steps)).error)


def test_the_last_float_of_a_piece_is_sampled():
    """The flank of a bump that lies in the octave above."""
    tape = tape_of("max(0, 1 - abs(x)) + normal_pdf(1687.9*(erf(x) - 0.0731154050089))")
    table = build_table(tape)
    assert error_at(tape, table, 0.0625, 1e-7) <= 1.2 * table.error


def test_places_are_found_to_the_float():
    tape = tape_of("exp(-(1000000*(exp(x) - 20))**2)")
    found = narrow(tape, ())
    assert np.abs(found - np.log(20)).min() <= 2e-7
    assert np.abs(found - np.log(20)).max() > 1  # and what lies around


@pytest.mark.parametrize("name", ["bsilu", "atan", "fast_sigmoid", "gelu", "mish", "triangle"])
def test_usual_surrogates_need_no_look(name):
    tape = surrogate(name).tape
    assert narrow(tape, tuple(float(point.at) for point in break_points(tape))).size == 0


def test_the_grid_ascends_and_is_of_floats():
    assert (np.diff(GRID) > 0).all() and (GRID.astype(np.float32) == GRID).all() and GRID[-1] > 2.0**126
