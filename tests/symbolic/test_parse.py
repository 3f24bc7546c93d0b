"""Formula text: what is accepted, and its inverse."""

import time

import mpmath
import pytest
import sympy
from formulas import FORMULAS, REPEATABLE
from hypothesis import given, settings

from sugar_search.errors import FormulaError
from sugar_search.symbolic.functions import X, differentiate, sigmoid, where
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.tape import Tape
from sugar_search.symbolic.text import to_text


@settings(max_examples=150, **REPEATABLE)
@given(FORMULAS)
def test_text_is_the_inverse_of_parse(text):
    try:
        expression = parse(text)
    except FormulaError:
        return
    assert parse(to_text(expression)) == expression


@settings(max_examples=80, **REPEATABLE)
@given(FORMULAS)
def test_derivatives_have_text_too(text):
    try:
        derivative = differentiate(parse(text))
        again = parse(to_text(derivative))
    except FormulaError:
        return
    assert parse(to_text(again)) == again
    assert again == derivative


@settings(max_examples=60, **REPEATABLE)
@given(FORMULAS)
def test_the_expression_means_what_python_reads(text):
    """Against Python's own evaluation of the same text with 50-digit functions."""
    try:
        tape = Tape.of(parse(text))
    except FormulaError:
        return
    for x in (-1.3, 0.7):
        with mpmath.workdps(50):
            expected = 0 + eval(_decimals(text), {"__builtins__": {}}, {**MP, "x": mpmath.mpf(x)})
        if mpmath.isfinite(expected) and abs(expected) < 1e40:
            assert abs(tape.mpmath(x) - expected) <= mpmath.mpf(10) ** -25 * (1 + abs(expected)), x


def _decimals(text: str) -> str:
    """Wraps every literal, so that 1/3 and 0.1 are evaluated at 50 digits."""
    import re

    return re.sub(r"(?<![\w.])(\d+\.?\d*(?:e[+-]?\d+)?)", r"m('\1')", text)


MP = {
    "m": mpmath.mpf,
    "pi": mpmath.pi,
    "e": mpmath.e,
    "exp": mpmath.exp,
    "sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)),
    "tanh": mpmath.tanh,
    "softplus": lambda u: mpmath.log(1 + mpmath.exp(u)),
    "log1p": mpmath.log1p,
    "erf": mpmath.erf,
    "normal_cdf": mpmath.ncdf,
    "normal_pdf": mpmath.npdf,
    "atan": mpmath.atan,
    "sqrt": mpmath.sqrt,
    "abs": abs,
    "sign": mpmath.sign,
    "square": lambda u: u * u,
    "min": min,
    "max": max,
    "where": lambda c, a, b: a if c else b,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.67/2", sympy.Rational(167, 200)),
        ("x^2".replace("^", "**"), X**2),
        ("  x ", X),
        ("1 if x > 0 else 0", where(X, sympy.S.One, sympy.S.Zero)),
        ("where(x <= 0, 2, 1)", where(X, sympy.S.One, sympy.Integer(2))),
        ("where(0 >= x, 2, 1)", where(X, sympy.S.One, sympy.Integer(2))),
        ("e**x", sympy.exp(X)),
        ("recip(1 + x*x)", 1 / (1 + X**2)),
        ("max(x, 0)", where(X, X, sympy.S.Zero)),
        ("sqrt(x**2)", parse("abs(x)")),
        ("2*(x + 1)*sigmoid(x)", sympy.Mul(2, X + 1, sigmoid(X))),
    ],
)
def test_accepted(text, expected):
    assert parse(text) == expected


def test_x_greater_and_greater_or_equal_differ_at_the_boundary_only():
    strict, weak = Tape.of(parse("where(x > 0, 1, 2)")), Tape.of(parse("where(x >= 0, 1, 2)"))
    assert [strict.mpmath(x) for x in (-1, 0, 1)] == [2, 2, 1]
    assert [weak.mpmath(x) for x in (-1, 0, 1)] == [2, 1, 1]


def test_a_parameter_is_bound_before_constants_are_checked():
    assert parse("exp(exp(a))", ["a"]).free_symbols == {sympy.Symbol("a", real=True)}
    with pytest.raises(FormulaError, match="at most 1,000,000,000"):
        parse("exp(exp(a))", values={"a": sympy.Integer(9)})


def test_unknown_names_show_the_nearest_first():
    with pytest.raises(FormulaError, match=r"column 5: .*'sigmod'; did you mean sigmoid.*allowed: sigmoid, "):
        parse("1 + sigmod(x)")
    with pytest.raises(FormulaError, match=r"allowed: .*beta"):
        parse("gamma*x", ["beta"])


@pytest.mark.parametrize(
    "text",
    [
        "((x*x)**7.7)*sigmoid(x)",
        "(abs(x)**7)**5",
        "(x**8)**3",
        "((1.7**7.7)**(1/3))*x",
        "2**0.6*2**0.55*x",
        "-((2*x + 2)/(1 + x*x))",
        "x/17/(1 + x*x)",
        "sqrt(1 + 10.3438**2)*x",
        "sqrt(square(sigmoid(max(0.00895, x))))",
        "x/3.141592653589",
        "1/(3*exp(2))/x**2",
    ],
)
def test_texts_that_sympy_rearranges(text):
    expression = parse(text)
    assert parse(to_text(expression)) == expression


@pytest.mark.parametrize("text", ["(-2*x*x)**7.7", "sqrt((tanh(e) - pi)*sigmoid(x))", "pi**8*pi**8*pi**8*x"])
def test_constant_factors_are_checked_too(text):
    with pytest.raises(FormulaError, match=r"real|1,000,000,000"):
        parse(text)


def test_long_roots_stay_readable():
    expression = parse("1.23456789012345**0.3337*x")
    assert len(to_text(expression)) < 60
    assert parse(to_text(expression)) == expression
    with mpmath.workdps(40):
        value = mpmath.mpf("1.23456789012345") ** mpmath.mpf("0.3337")
    assert abs(Tape.of(expression).mpmath(1) - value) < 1e-29


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1 + abs(x))**-0.3333333333333333", 3 ** -(1 / 3)),
        ("(6*abs(x))**0.7654321987654", 12**0.7654321987654),
        ("(12*abs(x))**0.6666666666666666", 24 ** (2 / 3)),
        ("((12*abs(x))**0.7654321)**0.6666666666666666", 24 ** (0.7654321 * 2 / 3)),
        ("sqrt(12*abs(x))**1.7654321", 24 ** (1.7654321 / 2)),
    ],
)
def test_exponents_may_have_the_digits_of_a_double(text, value):
    """At once: sympy would raise 2 and 3 to the numerator of 12**0.7654321."""
    start = time.process_time()
    found = parse(text)
    assert time.process_time() - start < 0.1
    assert float(Tape.of(found).mpmath(2)) == pytest.approx(value, rel=1e-14)
    assert parse(to_text(found)) == found


def test_hyperbolic_tangents_stay_what_they_are():
    for text in ("tanh(1e-4/(erf(x) + 1.5))", "tanh(0.001/(max(x, -0.5) + 1)**2)", "tanh(x**0.5)"):
        assert to_text(parse(text)) == text.replace("x**0.5", "sqrt(x)")
    assert to_text(parse("tanh(-3*x) + tanh(x - x)")) == "-tanh(3*x)"
    assert to_text(parse("abs(tanh(exp(x)))")) == "tanh(exp(x))"
    start = time.process_time()
    assert parse("tanh(" * 20 + "x**0.3" + ")" * 20).is_real
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize("levels", [2, 3, 6])
def test_nested_powers_with_long_exponents_are_read_or_refused_at_once(levels):
    text = "(x**2 + 1)**2.7718999999999996"
    for _ in range(levels):
        text = f"({text} + 2.7718999999999996)**2.7718999999999996"
    start = time.process_time()
    with pytest.raises(FormulaError, match="must not nest more than two deep"):
        parse(f"exp(-({text}))")
    assert time.process_time() - start < 0.25


def test_one_power_may_have_an_exponent_with_all_digits_of_a_float():
    assert parse("(1 + abs(x))**-a", values={"a": sympy.Rational(repr(1 / 3))}).has(sympy.Pow)
