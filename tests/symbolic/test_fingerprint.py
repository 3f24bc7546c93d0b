"""Fingerprints: correct to rounding, blind to spelling, aware of jumps; distances; the store of known functions."""

import hashlib
import os
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from formulas import FORMULAS, REPEATABLE
from hypothesis import given, settings

from sugar_search import catalog
from sugar_search.errors import FormulaError
from sugar_search.symbolic.canonical import canonical
from sugar_search.symbolic.fingerprint import GRID, TOLERANCE, Known, distance, fingerprint, same
from sugar_search.symbolic.idle import idle_parameters
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape


def _print(text):
    return fingerprint(Tape.of(parse(text)))


def _subject(text):
    e = parse(text)
    return SimpleNamespace(canonical=canonical(e), tape=Tape.of(e))


def test_grid_is_dense_near_0_and_reaches_both_tails():
    assert 0.0 in GRID
    assert np.array_equal(GRID, -GRID[::-1])
    inner = GRID[np.abs(GRID) <= 4]
    assert np.diff(inner).max() <= 1 / 16
    assert np.abs(inner[inner != 0]).min() <= 1e-6
    assert GRID[-1] == 1000


@settings(max_examples=80, **REPEATABLE)
@given(FORMULAS)
def test_values_are_those_of_50_digits_rounded_once(text):
    try:
        tape = Tape.of(parse(text))
    except FormulaError:
        return
    found = fingerprint(tape)
    for i in range(0, len(GRID), 16):
        exact = tape.mpmath(GRID[i], 60)
        if np.isfinite(found.values[i]) and mpmath.isfinite(exact):
            small = abs(exact) < mpmath.mpf(10) ** -30  # 60 digits may not resolve it; 2048 bits do
            assert found.values[i] == float(exact) or (small and abs(found.values[i]) < 1e-29), GRID[i]


SPELLINGS = [
    ("exp(x)*(1 - sigmoid(x))", "sigmoid(x)"),  # inf*0 in floats
    ("exp(x*x)/(1 + exp(x*x))", "sigmoid(square(x))"),
    ("sqrt(1 + x*x) - abs(x)", "1/(sqrt(1 + x*x) + abs(x))"),  # cancels
    ("x*(1 - tanh(x))", "2*x*sigmoid(-2*x)"),
    ("(exp(x) - exp(-x))/(exp(x) + exp(-x))", "tanh(x)"),
    ("max(x, 0) - max(-x, 0)", "x"),
    ("where(x > 0, 1, exp(x))", "where(x >= 0, 1, exp(x))"),  # equal at 0
    ("where(tanh(x) > 0.5, x, 0)", "where(2*sigmoid(2*x) - 1 > 0.5, x, 0)"),
    ("where(x > -50, 1, 1)", "1"),
]
DIFFERENT = [
    ("where(x > 0.5001, 1, 0)", "where(x > 0.5002, 1, 0)"),
    ("where(x > 0, 1, 0)", "where(x >= 0, 1, 0)"),
    ("sigmoid(x)", "sigmoid(1.000001*x)"),
    ("where(x > 0.5001, 1, 0.5)", "where(x > 0.5001, 1, 0.49999)"),
    ("exp(-abs(x))", "exp(-abs(x)) + 1e-6*exp(-square(x - 3))"),
]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_spellings_of_one_function_are_the_same(one, other):
    assert same(_print(one), _print(other))
    assert distance(_print(one), _print(other)) < 1e-12


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_functions_are_kept_apart(one, other):
    assert not same(_print(one), _print(other))


def test_jumps_are_found_where_the_function_jumps_and_only_there():
    jumps = _print("where(x > 1/3, 2, x)").jumps
    assert [(j.at, j.right) for j in jumps] == [(pytest.approx(1 / 3, abs=1e-14), 2.0)]
    assert jumps[0].left == pytest.approx(1 / 3, abs=1e-14)
    assert [(j.at, j.left, j.right) for j in _print("sign(x)").jumps] == [(0.0, -1.0, 1.0)]
    for text in ("abs(x - 0.7)", "x*sign(x)", "max(x, 0.3)", "where(x > 2, 1, 1 + 0*x)", "where(x > 1, x, 1)"):
        assert _print(text).jumps == (), text


def test_a_tie_that_no_precision_settles_counts_as_a_tie():
    # sqrt(2)*sqrt(3) and sqrt(6) at x = 0: conditions are strict, so the other branch holds.
    assert _print("where(sqrt(2)*sqrt(x*x + 3) > sqrt(6), 1, 0)").values[len(GRID) // 2] == 0


def test_poles_are_not_numbers_and_families_are_numbers_everywhere():
    assert np.isnan(_print("1/x").values[len(GRID) // 2])
    for name in catalog.names("surrogates"):
        assert np.isfinite(fingerprint(surrogate(name).tape).values).all(), name


@pytest.mark.parametrize(
    ("one", "other", "exact"),
    [
        ("where(x > 0, 1, 0)", "0", np.sqrt(0.5)),
        ("x", "0", 1.0),
        ("where(x > 0.31, 1, 0)", "where(x > 0.52, 1, 0)", None),
        ("normal_cdf(x)", "0.5", np.sqrt(1 / 12)),
    ],
)
def test_distance_is_the_root_mean_square_under_a_standard_normal(one, other, exact):
    if exact is None:
        exact = float(mpmath.sqrt(mpmath.ncdf(0.52) - mpmath.ncdf(0.31)))
    assert distance(_print(one), _print(other)) == pytest.approx(exact, rel=2e-3)


def test_known_finds_functions_by_form_or_by_values():
    known = Known()
    known.add(_subject("sigmoid(x)*(1 + x*(1 - sigmoid(x)))"), "silu")
    known.add(_subject("where(x > 0.5001, 1, 0)"), "step")
    known.add(_subject("where(x > 0, 1, x*exp(x))"), "tail")
    assert known.find(_subject("(1 + exp(-x) + x*exp(-x))/(1 + exp(-x))**2")) == "silu"
    assert known.find(_subject("where(2*x > 1.0002, 1, 0)")) == "step"
    assert known.find(_subject("where(x > 0.5002, 1, 0)")) is None
    assert known.find(_subject("sigmoid(x)")) is None
    again = _subject("1/(1 + exp(-x)) + x*exp(-x)/(1 + exp(-x))**2")
    known.add(again, "again")
    assert known.find(again) == "silu"
    assert known.find(_subject("sigmoid(x)*(1 + x*(1 - sigmoid(x)))")) == "silu"


def test_known_tells_functions_apart_that_differ_between_the_points():
    known = Known()
    known.add(_subject("sigmoid(x)"), "plain")
    for text in ("sigmoid(x) + exp(-square(1000*(x - 0.7)))", "sigmoid(x) + max(0, 1 - abs(40*(x - 0.7107)))"):
        assert known.find(_subject(text)) is None
        known.add(_subject(text), text)
        assert known.find(_subject(text)) == text
        again = text.replace("sigmoid(x)", "exp(x)/(1 + exp(x))")
        assert known.find(_subject(again)) == text
    assert known.find(_subject("0.5 + 0.5*tanh(x/2)")) == "plain"


def test_known_sees_the_tolerance_from_both_sides():
    known = Known()
    known.add(_subject("2*sigmoid(x)"), "it")
    assert known.find(_subject(f"2*sigmoid(x) + {0.5 * TOLERANCE:.3g}*sigmoid(3*x)")) == "it"
    assert known.find(_subject(f"2*sigmoid(x) + {3 * TOLERANCE:.3g}*sigmoid(3*x)")) is None


def test_known_looks_up_thousands_in_less_than_a_millisecond():
    known, base = Known(), _print("sigmoid(x)")
    for k in range(5000):  # straight into the store: making 5,000 fingerprints would take seconds
        made = type(base)(base.values * (1 + k * 1e-7), ())
        known._insert(made, Tape(()), k)
    wanted = type(base)(base.values * (1 + 2500 * 1e-7), ())
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        assert [label for _, label in known.like(wanted)] == [2500]
        best = min(best, time.perf_counter() - start)
    assert best < 1e-3


def test_a_fingerprint_takes_milliseconds():
    for name in ("bsilu", "mish", "nelu"):
        tape = surrogate(name).tape
        fingerprint.cache_clear()
        start = time.perf_counter()
        fingerprint(tape)
        assert time.perf_counter() - start < 0.02, name


_SCRIPT = """
import hashlib
from sugar_search.symbolic.fingerprint import fingerprint
from sugar_search.symbolic.surrogate import surrogate
print(hashlib.sha256(b"".join(fingerprint(surrogate(n).tape).to_bytes() for n in ("mish", "nelu", "gelu"))).hexdigest())
"""


def test_the_same_bytes_in_another_process():
    here = hashlib.sha256(b"".join(fingerprint(surrogate(n).tape).to_bytes() for n in ("mish", "nelu", "gelu")))
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env={**os.environ, "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == here.hexdigest()


@pytest.mark.parametrize(
    ("text", "values", "idle"),
    [
        ("sigmoid(x)*exp(a)*exp(-a)", {"a": 1.0}, {"a"}),
        ("sigmoid(a*x) + sigmoid(-a*x) + b*normal_pdf(x)", {"a": 1.0, "b": 0.3}, {"a"}),
        ("max(a, 3)*sigmoid(x)", {"a": 1.0}, set()),
        ("sigmoid(x) + (x + a)*sigmoid(x)*(1 - sigmoid(x))", {"a": 1.67}, set()),
        ("sigmoid(x) + exp(-square(1000*(x - a)))", {"a": 0.7}, set()),
        ("sigmoid(x) + where(square(x - a) < 1e-6, b, b)", {"a": 0.7, "b": 0.5}, {"a"}),
        ("where(x > 0, 1, a*exp(x)) - where(x > 0, 0, a*exp(x)) + b*0", {"a": 0.3, "b": 1.0}, {"a", "b"}),
    ],
)
def test_idle_parameters(text, values, idle):
    assert idle_parameters(parse(text, values), values) == idle


def test_idle_parameters_of_nested_powers_do_not_hang():
    # sympy's own substitution takes minutes here.
    text = "(x**2 + 1)**a"
    for _ in range(3):
        text = f"(({text})**a + a)"
    start = time.perf_counter()
    assert idle_parameters(parse(f"exp(-{text})", {"a": 0.7}), {"a": 0.7}) == set()
    assert time.perf_counter() - start < 2


def test_a_parameter_that_allows_few_values_is_not_idle():
    # At 12 + 23.417 the power goes beyond the largest constant.
    assert idle_parameters(parse("sigmoid(x) + 0*exp(x)*a + 2**a*0.25", {"a": 12.0}), {"a": 12.0}) == set()


def test_values_beyond_float64_compare_without_a_warning():
    """A surrogate with such values is refused later; a warning would go to the user's terminal."""
    huge = fingerprint(Tape.of(parse("exp(x*x)*where(x > 0.3, 2, 1)")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same(huge, huge)
    assert np.isnan(huge.values[-1])
