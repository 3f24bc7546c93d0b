"""Structural keys: equal under the rules of a ring and the reflections, different for different functions."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import sympy
from formulas import FORMULAS, REPEATABLE
from hypothesis import given, settings
from hypothesis import strategies as st

from sugar_search.errors import FormulaError
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.screening import field
from sugar_search.symbolic.tape import Tape

EQUAL = [
    ("(x + 1)**2", "x*x + 2*x + 1"),
    ("1/(1 + x) + 1/(1 - x)", "2/(1 - x*x)"),
    ("sigmoid(x)*(1 - sigmoid(x))", "sigmoid(x) - sigmoid(x)**2"),
    ("1 - sigmoid(2*x + 1)", "sigmoid(-1 - 2*x)"),
    ("tanh(x)", "2*sigmoid(2*x) - 1"),
    ("tanh(-x)", "-tanh(x)"),
    ("erf(x)", "2*normal_cdf(sqrt(2)*x) - 1"),
    ("1/(1 + exp(-x))", "sigmoid(x)"),
    ("exp(-x)", "1/exp(x)"),
    ("normal_pdf(x)", "exp(-x*x/2)/sqrt(2*pi)"),
    ("softplus(x) - softplus(-x)", "x"),
    ("log1p(exp(x))", "softplus(x)"),
    ("max(x, 0) + min(x, 0)", "x"),
    ("max(x, sigmoid(x))", "-min(-x, -sigmoid(x))"),
    ("where(x > 0, 1 + x, 1)", "1 + where(x > 0, x, 0)"),
    ("atan(-3*x)", "-atan(3*x)"),
    ("0.1*x + 0.2*x", "0.3*x"),
    ("sigmoid(x - x)", "0.5"),
]
DIFFERENT = [
    ("sigmoid(x)", "normal_cdf(x)"),
    ("where(x > 0, 1, 0)", "where(x >= 0, 1, 0)"),
    ("where(x > 0.5001, 1, 0)", "where(x > 0.5002, 1, 0)"),
    ("abs(x)", "x"),
    ("sign(x)", "tanh(x)"),
    ("pi*x", "22/7*x"),
    ("(1 + abs(x))**1.7", "(1 + abs(x))**1.3"),
]


def _key(text):
    return field.key(Tape.of(parse(text)))


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_under_ring_rules_and_reflections(one, other):
    assert _key(one) == _key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_functions_have_different_keys(one, other):
    assert _key(one) != _key(other)


@settings(max_examples=80, **REPEATABLE)
@given(FORMULAS, FORMULAS)
def test_equal_keys_mean_equal_values_and_expansion_keeps_the_key(one, other):
    try:
        a, b = parse(f"({one})*({other})"), parse(f"({other} + 1)*({one}) - ({one})")
        c, d = Tape.of(a), Tape.of(b)
    except FormulaError:
        return
    if field.key(c) == field.key(d):
        for x in (-1.7, 0.3):
            u, v = c.mpmath(x), d.mpmath(x)
            assert not abs(u - v) > 1e-30 * (1 + abs(u))
    assert "where" in str(a) + str(b) or "sqrt" in one + other or "/" in one + other or field.key(c) == field.key(d)


@given(st.lists(st.one_of(st.floats(-1e9, 1e9), st.integers(-99999, 99999).map(lambda m: m / 1000)), min_size=1))
@settings(max_examples=100, **REPEATABLE)
def test_residues_are_those_of_the_decimals_that_floats_print_as(values):
    found = field.residues(np.array(values))
    for i, value in enumerate(values):
        exact = Fraction(repr(value))
        for row, p in enumerate(field.PRIMES):
            assert found[row, i] == exact.numerator * pow(exact.denominator, -1, p) % p


@given(st.lists(st.integers(0, 2**31 - 20), min_size=1, max_size=40))
@settings(max_examples=60, **REPEATABLE)
def test_inverses(values):
    a = np.array([values, values], dtype=np.uint64)
    product = field.multiply(a, field.inverse(a))
    assert np.array_equal(product, (a != 0).astype(np.uint64))


def test_inputs_stand_for_any_subexpression():
    whole = field.run(Tape.of(parse("sigmoid(2*x)*(1 - sigmoid(2*x)) + 0.25")))
    u, k = sympy.symbols("_0 _1", real=True)
    inputs = {"_0": field.run(Tape.of(parse("sigmoid(2*x)"))), "_1": field.residues(np.array([0.25]))}
    assert np.array_equal(field.run(Tape.of(u * (1 - u) + k, ("_0", "_1")), inputs), whole)


def test_the_same_in_another_process():
    script = "from sugar_search.symbolic.screening import field;from sugar_search.symbolic.parse import parse\n"
    script += "from sugar_search.symbolic.tape import Tape\nprint(field.key(Tape.of(parse('x*sigmoid(x)+atan(pi*x)'))))"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) == _key("x*sigmoid(x)+atan(pi*x)")
