"""The second look: narrow features between the points of a fingerprint, spellings that stay one function, its cost."""

import time

import numpy as np
import pytest
from formulas import FORMULAS, REPEATABLE
from hypothesis import given, settings
from hypothesis import strategies as st

from sugar_search.errors import FormulaError
from sugar_search.symbolic import second_look
from sugar_search.symbolic.fingerprint import alike, fine_distance, fingerprint, same
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.tape import Tape


def _tape(text):
    return Tape.of(parse(text))


NARROW = [
    "sigmoid(x) + max(0, 1 - abs(40*(x - 0.7107)))",
    "where(square(x - 0.7107) < 1e-4, 2, sigmoid(x))",
    "where(square(x - 0.7107) < 1e-12, 2, sigmoid(x))",
    "sigmoid(x) + exp(-square(1000*(x - 0.7)))",
    "sigmoid(x) + exp(-square(1e9*(x - 0.7)))",
    "sigmoid(x) + 1000*(x - 0.71)*exp(-square(1000*(x - 0.71)))",  # 0 at the very place
    "sigmoid(x) + recip(1 + square(1e7*(x - 3.3)))",
    "sigmoid(x) + sigmoid(1e4*(x - 2))*sigmoid(-1e4*(x - 2))",
    "sigmoid(x) + sigmoid(1000*(exp(-square(1000*(x - 0.7))) - 0.5))",  # a step upon a bump
    "sigmoid(x) + normal_pdf(1e4*(x*x - 0.7))",
    "sigmoid(x) + exp(-square(1000*(x - 100.7)))",
    "sigmoid(x) + 1e8*max(0, normal_pdf(x - 0.91) - 0.39894228)",  # a maximum that just passes a bound
    "sigmoid(x) + tanh(1e4*x - 7000.3) - tanh(1e4*x - 7000.8)",
]


@pytest.mark.parametrize("text", NARROW)
def test_a_narrow_feature_makes_another_function(text):
    one, other = _tape(text), _tape("sigmoid(x)")
    assert same(fingerprint(one), fingerprint(other)), "not narrow enough to be missed by the fingerprint"
    assert not alike(one, other)
    assert not alike(other, one)


@settings(max_examples=60, **REPEATABLE)
@given(
    st.sampled_from(["exp(-square({}))", "recip(1 + square(square({})))", "max(0, 1 - abs({}))", "normal_pdf({})"]),
    st.integers(-11 * 10**9, 11 * 10**9),
    st.floats(1.5, 8),
)
def test_a_bump_of_any_width_is_seen_wherever_it_is(bump, at, digits):
    inner = f"{10**digits:.6g}*(x - {at * 1e-9:.9f})".replace("- -", "+ ")
    assert not alike(_tape("sigmoid(x) + " + bump.format(inner)), _tape("sigmoid(x)"))


SPELLINGS = [
    ("sqrt(1 + x*x) - abs(x)", "1/(sqrt(1 + x*x) + abs(x))"),
    ("(exp(x) - exp(-x))/(exp(x) + exp(-x))", "tanh(x)"),
    ("where(x > 0, 1, exp(x))", "where(x >= 0, 1, exp(x))"),
    ("where(tanh(x) > 0.5, x, 0)", "where(2*sigmoid(2*x) - 1 > 0.5, x, 0)"),
    ("where(x > 0.5001, 1, 0)", "where(2*x > 1.0002, 1, 0)"),
    ("where(abs(x - 1/3) < 0.2, 1, 0)", "where(x < 8/15, 1, 0)*where(x > 2/15, 1, 0)"),
    # Rounding alone parts these in float64, by 1e-7: ball arithmetic decides.
    ("1e8*(exp(1e-8*x) - 1)*sigmoid(-x)", "1e8*(exp(1e-8*x)*sigmoid(-x) - sigmoid(-x))"),
    ("sigmoid(1e9*(x - 0.7))", "0.5 + 0.5*tanh(5e8*x - 3.5e8)"),
]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_spellings_stay_one_function(one, other):
    assert alike(_tape(one), _tape(other))
    assert fine_distance(_tape(one), _tape(other)) < 1e-6


@settings(max_examples=60, **REPEATABLE)
@given(FORMULAS)
def test_a_formula_is_alike_to_other_spellings_of_itself(text):
    try:
        one, other = _tape(text), _tape(f"({text})*sigmoid(x) + ({text})*sigmoid(-x)")
    except FormulaError:
        return
    if np.isfinite(fingerprint(one).values).all() and fingerprint(one).scale < 1e3:
        assert alike(one, other) == same(fingerprint(one), fingerprint(other))


def test_the_distance_of_what_the_grid_does_not_part_is_that_of_the_feature():
    exact = np.sqrt(0.02 * np.exp(-(0.7107**2) / 2) / np.sqrt(2 * np.pi))  # 1 over a width of 0.02
    found = fine_distance(_tape("where(square(x - 0.7107) < 1e-4, 2, 1)"), _tape("1"))
    assert found == pytest.approx(exact, rel=0.05)


def test_a_second_look_takes_milliseconds():
    pairs = [
        ("tanh(x)*sigmoid(x)+erf(x)*normal_cdf(x)", "tanh(x)/(1+exp(-x))+erf(x)*(1+erf(x/sqrt(2)))/2"),
        ("max(sigmoid(x), 0.3*normal_pdf(x))", "max(1/(1 + exp(-x)), 0.3*normal_pdf(-x))"),
    ]
    for one, other in pairs:
        tapes = _tape(one), _tape(other)
        alike(*tapes)
        best = 1.0
        for _ in range(3):
            second_look.look.cache_clear()
            start = time.perf_counter()
            assert alike(*tapes)
            best = min(best, time.perf_counter() - start)
        assert best < 0.02  # 5 ms on a machine that does nothing else
