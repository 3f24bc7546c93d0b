import math

import mpmath
import pytest
from flint import acb, arb, ctx
from formulas import FORMULAS, REPEATABLE
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sugar_search.errors import FormulaError
from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.constants import constant
from sugar_search.symbolic.certificates.enclosing import COMPLEX, REAL, TAYLOR
from sugar_search.symbolic.certificates.smooth import taylor_terms
from sugar_search.symbolic.certificates.tail_rules import RULES
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.primitives import PRIMITIVES
from sugar_search.symbolic.tape import Tape

POINTS = st.one_of(st.floats(-8, 8), st.sampled_from([0.0, 1e-9, -1e-9, 1e4, -1e4, 1e30, -1e30]))
ATOMS = [name for name in PRIMITIVES if name not in ("gt", "lt", "where")]


@pytest.fixture(autouse=True)
def _precision():
    with ctx.workprec(64):
        yield


def tape_of(text):
    return Tape.of(parse(text))


def holds(ball: arb, value) -> bool:
    """Whether a ball contains a 50-digit number, up to the digits of that number."""
    if not ball.is_finite():
        return True
    with ctx.workprec(400):
        exact = arb(mpmath.nstr(value, 60))
        return bool(ball.overlaps(exact + arb(0, 1e-45) * (1 + abs(exact))))


@settings(max_examples=200, **REPEATABLE)
@given(FORMULAS, POINTS, st.floats(0, 2), st.floats(-1, 1))
def test_value_encloses_g_all_over_a_ball(text, middle, radius, place):
    try:
        tape = tape_of(text)
    except FormulaError:
        assume(False)
    ball = Program(tape).value(arb(middle, radius))
    value = tape.mpmath(mpmath.mpf(middle) + mpmath.mpf(radius) * place)
    assert not ball.is_finite() or (mpmath.isfinite(value) and holds(ball, value))


@pytest.mark.parametrize("name", sorted(TAYLOR))
@pytest.mark.parametrize("middle", [0.31, 2.7, -0.4, -3.3, 40.0, -40.0, 0.0])
@pytest.mark.parametrize("radius", [0.0, 0.05, 0.9])
def test_taylor_coefficients_enclose_derivatives(name, middle, radius):
    coefficients = TAYLOR[name](arb(middle, radius))
    function = PRIMITIVES[name].mpmath
    for place in (-1, -0.3, 0, 0.8):
        with mpmath.workdps(80):
            u = mpmath.mpf(middle) + mpmath.mpf(radius) * place
            if (name in ("sqrt", "log1p", "recip") and u <= 0.01) or not coefficients[3].is_finite():
                continue
            h = mpmath.mpf(10) ** -12
            f = [function(u + k * h) for k in (-2, -1, 0, 1, 2)]
            real = (f[2], (f[3] - f[1]) / (2 * h), (f[3] - 2 * f[2] + f[1]) / h**2 / 2)
            third = (f[4] - 2 * f[3] + 2 * f[1] - f[0]) / (2 * h**3) / 6
        for order, value in enumerate((*real, third)):
            slack = 1e-9 * (1 + abs(float(value)))
            assert coefficients[order].lower() <= value_ball(value) + slack, (name, order, place)
            assert coefficients[order].upper() >= value_ball(value) - slack, (name, order, place)


def value_ball(value) -> arb:
    return arb(mpmath.nstr(value, 25))


@settings(max_examples=100, **REPEATABLE)
@given(FORMULAS, st.floats(-6, 6), st.floats(0, 0.5), st.floats(-1, 1))
def test_series_of_a_smooth_piece_encloses_slope_and_bend(text, middle, radius, place):
    try:
        tape = tape_of(text)
    except FormulaError:
        assume(False)
    smooth = Program(tape).specialise({})
    assume(not smooth.waiting)
    with taylor_terms(3):
        series = smooth.series(arb(middle, radius))
    assume(series[2].is_finite())
    with mpmath.workdps(90):
        x, h = mpmath.mpf(middle) + mpmath.mpf(radius) * place, mpmath.mpf(10) ** -15
        low, mid, high = (tape.mpmath(x + k * h, 90) for k in (-1, 0, 1))
        slope, bend = (high - low) / (2 * h), (high - 2 * mid + low) / h**2 / 2
    for ball, value in ((series[0], mid), (series[1], slope), (series[2], bend)):
        slack = 1e-9 * (1 + abs(float(value)))
        assert ball.lower() <= value_ball(value) + slack and ball.upper() >= value_ball(value) - slack


def test_taylor_terms_do_not_depend_on_what_was_asked_before():
    # A constant made while three terms were asked for must not cut a later series to three.
    smooth = Program(tape_of("1/(1 + x**2)")).specialise({})
    with taylor_terms(3):
        smooth.series(arb(0.5))
    with taylor_terms(4):
        late = smooth.series(arb(0.5))
        fresh = Program(tape_of("1/(1 + x**2)")).specialise({}).series(arb(0.5))
    assert late[3].overlaps(fresh[3]) and not late[3].is_zero()


@settings(max_examples=80, **REPEATABLE)
@given(FORMULAS, st.floats(-6, 6))
def test_complex_values_continue_the_real_ones(text, x):
    try:
        tape = tape_of(text)
    except FormulaError:
        assume(False)
    smooth = Program(tape).specialise({})
    assume(not smooth.waiting)
    value = smooth.complex(acb(arb(x)), True)
    assume(value.is_finite())
    assert value.real.overlaps(smooth.value(arb(x))) and value.imag.contains(0)


def test_every_primitive_has_its_ball_and_tail_rules():
    for name in ATOMS:
        assert name in REAL and name in RULES, name
        assert name in TAYLOR or name in ("abs", "sign", "min", "max", "square"), name
        assert name in COMPLEX or name in ("abs", "sign", "min", "max"), name


@pytest.mark.parametrize("name", [n for n in ATOMS if PRIMITIVES[n].arity == 1])
def test_real_forms_are_total(name):
    for u in (arb(-3), arb(0), arb(0, 1), arb(-1e30), arb(1e30), arb("nan"), arb("inf"), arb(0, 1e30)):
        REAL[name](u)  # never raises
    assert not REAL[name](arb("nan")).is_finite()


def test_what_is_not_defined_is_not_finite():
    for text, x in (("1/x", arb(0, 1)), ("sqrt(x)", arb(0, 1)), ("log1p(x)", arb(-1, 1)), ("x**0.3", arb(-1))):
        assert not Program(tape_of(text)).value(x).is_finite()


def test_undecided_conditions_give_the_hull():
    program = Program(tape_of("where(x > 0, 3, -2)"))
    hull = program.value(arb(0, 1))
    assert hull.contains(3) and hull.contains(-2)
    assert program.value(arb(0)) == -2 and program.value(arb(1, 0.5)) == 3


def test_known_signs_leave_one_branch():
    program = Program(tape_of("where(x > 0, 1, exp(x))*abs(x - 5)"))
    first = program.specialise({})
    assert len(first.waiting) == 2
    signs = dict.fromkeys(first.waiting, -1)
    smooth = program.specialise(signs)
    assert smooth.waiting == () and float(smooth.value(arb(2)).mid()) == pytest.approx(float(mpmath.exp(2) * 3))


@settings(max_examples=60, **REPEATABLE)
@given(FORMULAS)
def test_constants_agree_with_50_digits(text):
    try:
        expression = parse(text).subs({s: 2 for s in parse(text).free_symbols})
        tape = Tape.of(expression)
    except (FormulaError, ValueError):
        assume(False)
    with ctx.workprec(200):
        assert holds(constant(expression), tape.mpmath(0, 60))


@settings(max_examples=250, **REPEATABLE)
@given(FORMULAS, POINTS)
def test_ranges_by_form_hold_for_every_step(text, x):
    try:
        tape = tape_of(text)
    except FormulaError:
        assume(False)
    program, value = Program(tape), tape.mpmath(x, 50)
    assume(mpmath.isfinite(value))
    tiny = mpmath.mpf(10) ** -40
    assert abs(value) <= program.most + tiny
    assert value >= -tiny or not program.nonnegative[-1]


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("tanh(x) - sigmoid(x)", 2),
        ("3*(0.5 - atan(x))", 8),
        ("2.5*exp(-x**2)", 3),
        ("7/(2 + x**2)", 4),
        ("min(3, max(-4, x))", 4),
        ("x/(1 + x**2)", math.inf),
        ("1/x", math.inf),
        ("10**7*tanh(x)", math.inf),
        ("abs(tanh(x) - 3)", 4),
        ("square(2 - sign(x))", 9),
    ],
)
def test_bounds_by_form(text, most):
    assert Program(tape_of(text)).most == most


def test_known_numbers_are_folded():
    program = Program(tape_of("sqrt(where(x > 0, x, 0))*exp(x) + square(where(x > 0, x, -1))"))
    left = program.specialise(dict.fromkeys(program.specialise({}).waiting, -1))
    assert left.prefix(len(left.code) - 1).is_constant and float(left.value(arb(-3))) == 1
