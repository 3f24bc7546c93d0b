import mpmath
import pytest
from flint import arb, ctx, fmpq
from formulas import FORMULAS, REPEATABLE
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import Rational, pi, sqrt

from sugar_search.errors import FormulaError
from sugar_search.symbolic.certificates.asymptotic import Growth, Rules
from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.derivative import derivative
from sugar_search.symbolic.certificates.order import ONE, NotResolved, Order, TryLarger, coefficient, compare, supremum
from sugar_search.symbolic.certificates.tail import Tail, tail
from sugar_search.symbolic.certificates.tail_rules import RULES
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.tape import Tape

FAR = ["1", "1.07", "1.5", "3", "17", "1e3", "1e6", "1e12", "1e30"]


def tape_of(text):
    return Tape.of(parse(text))


def tails(text, **options):
    with ctx.workprec(64):
        program = Program(tape_of(text))
        return tail(program, -1, **options), tail(program, 1, **options)


def check(tape: Tape, found: Tail) -> None:
    """Every claim of a tail against 60-digit values."""
    limit = None if found.limit is None else mpmath.mpf(float(found.limit.ball.mid()))
    values = []
    for factor in FAR:
        x = found.side * found.radius * mpmath.mpf(factor)
        g = tape.mpmath(x, 400)
        if not mpmath.isfinite(g):
            continue  # inf/inf or 0*inf of the reference, which sets exp(u) to inf beyond 2**80
        values.append(abs(g))
        if found.unbounded:
            continue
        assert abs(g) <= float(found.bound.upper()) * (1 + 1e-12) + 1e-300, (x, g, found)
        if limit is not None:
            assert abs(g - limit) <= float(found.gap.upper()) * (1 + 1e-12) + 1e-12 * (1 + abs(limit)), (x, g, found)
            if found.limit.exact is not None and found.beyond is not None and found.limit.rational is not None:
                with mpmath.workdps(400):
                    exact = mpmath.mpf(int(found.limit.rational.p)) / int(found.limit.rational.q)
                    gap = g - exact
                # Where the gap is under the precision of the reference nothing can be told.
                assert abs(gap) < mpmath.mpf(10) ** -390 or mpmath.sign(gap) == found.beyond, (x, gap, found)
        if found.sign is not None and abs(g) > mpmath.mpf(10) ** -390:
            assert mpmath.sign(g) == found.sign, (x, g, found)
    if found.unbounded:
        assert values[-1] > values[0] and values[-1] > 10


@pytest.mark.parametrize(
    "text",
    [
        "x/sqrt(1 + x**2)",
        "tanh(x)**2",
        "log1p(x**2)/(1 + x**2)",
        "exp(x)/(1 + exp(x))",
        "1/(1 + exp(-x))",
        "sqrt(abs(x))/(1 + abs(x))",
        "normal_cdf(x) + x*normal_pdf(x)",
        "tanh(softplus(x)) + x*sigmoid(x)*(1 - tanh(softplus(x))**2)",
        "1/square(1 + abs(x + 1.2))",
        "max(sigmoid(x), 0.5*exp(-x**2))",
        "erf(x)*normal_cdf(0.3*x + 1)",
        "x**2*exp(-sqrt(1 + x**2))",
        "sigmoid(exp(x))",
        "exp(-exp(x))",
        "softplus(x) - x",
        "x*(1 - tanh(x))",
        "sqrt(1 + x**2) - x",
        "atan(x)*(0.5 - atan(x)/pi)*x",
        "(1 + abs(x))**(-1.7)",
        "erf(1/(1 + x**2))*x**2",
        "where(sigmoid(x) > 0.3, exp(-x), -atan(x))",
    ],
)
def test_tails_agree_with_50_digit_values(text):
    for found in tails(text):
        check(tape_of(text), found)


@settings(max_examples=120, **REPEATABLE)
@given(FORMULAS)
def test_random_tails_agree_with_50_digit_values(text):
    try:
        tape = tape_of(text)
        found = tails(text)
    except (FormulaError, NotResolved):
        assume(False)
    for one in found:
        check(tape, one)


def test_exact_cancellation_is_seen():
    left, right = tails("x*(0.5 + atan(x)/pi)")
    assert not left.unbounded and left.limit.exact == {(-2, 1): fmpq(-1)}  # -1/pi
    assert right.unbounded


def test_what_is_merely_small_is_not_zero():
    assert tails("x*(0.5 + atan(x)/3.1416)")[0].unbounded
    # Unbounded too, but only beyond every radius tried: a rounding taken for 0 would prove it bounded.
    with pytest.raises(NotResolved):
        tails("x*(0.5 + atan(x)/3.14159265358979323846264338327950288)")


@pytest.mark.parametrize(
    ("text", "side"), [("x*exp(-x)", -1), ("-x*exp(-x)", -1), ("log1p(abs(x))", 1), ("x**3*tanh(x)", 1)]
)
def test_growth_is_refuted(text, side):
    assert tails(text)[side > 0].unbounded


def test_a_root_of_a_negative_tail_is_not_resolved():
    with pytest.raises(NotResolved):
        tails("sqrt(x)/(1 + x**2)")


def test_tails_of_derivatives_hold():
    for text in ("sigmoid(x) + (x + 1.67)*sigmoid(x)*(1 - sigmoid(x))", "atan(x)/(1 + abs(x))", "erf(x)*exp(-abs(x))"):
        slope = derivative(tape_of(text))
        with ctx.workprec(64):
            for side in (-1, 1):
                check(slope, tail(Program(slope), side))


@settings(max_examples=60, **REPEATABLE)
@given(FORMULAS, st.floats(-6, 6))
def test_derivative_tape_is_the_derivative(text, x):
    try:
        tape = tape_of(text)
    except FormulaError:
        assume(False)
    with mpmath.workdps(60):
        h = mpmath.mpf(10) ** -15
        low, mid, high = (tape.mpmath(x + k * h, 60) for k in (-1, 0, 1))
        assume(all(mpmath.isfinite(v) and abs(v) < 1e6 for v in (low, mid, high)))
        left, right = (mid - low) / h, (high - mid) / h
        assume(abs(left - right) <= 1e-9 * (1 + abs(left)))  # no kink and no jump here
        got = derivative(tape).mpmath(x, 60)
        assert abs(got - (left + right) / 2) <= 1e-6 * (1 + abs(left)), (got, left, right)


def test_orders_are_compared_by_exponent_power_and_logarithm():
    falling, faster = Order(rates=((fmpq(1), coefficient(-1)),)), Order(rates=((fmpq(2), coefficient(fmpq(-1, 100))),))
    assert compare(Order(p=fmpq(9)) * falling, ONE) == -1
    assert compare(faster, falling) == -1
    assert compare(Order(p=fmpq(1)), Order(l=fmpq(5))) == 1
    assert compare(Order(p=fmpq(1), l=fmpq(1)), Order(p=fmpq(1))) == 1
    assert compare(falling, Order(rates=((fmpq(1), coefficient(-1)),))) == 0


@settings(max_examples=60, **REPEATABLE)
@given(
    st.integers(-6, 6), st.integers(-3, 3), st.floats(-3, 3).filter(lambda c: abs(c) > 1e-3), st.sampled_from([8, 32])
)
def test_suprema_of_ratios_hold(p, log, rate, radius):
    exact = fmpq(round(rate * 1000), 1000)
    low, high = Order(fmpq(p), fmpq(log), ((fmpq(1), coefficient(exact)),)), ONE
    if compare(low, high) > 0:
        low, high = high, low
    try:
        bound = supremum(low, high, arb(radius))
    except TryLarger:
        assume(False)
    for factor in (1, 1.1, 2, 10, 100):
        t = arb(radius * factor)
        assert (low / high).at(t) <= bound * (1 + 1e-12)


def test_a_ratio_that_still_rises_has_no_bound_yet():
    low = Order(fmpq(5), rates=((fmpq(1), coefficient(fmpq(-1, 10))),))  # t**5*exp(-t/10) peaks at 50
    with pytest.raises(TryLarger):
        supremum(low, ONE, arb(8))
    assert supremum(low, ONE, arb(64)) >= low.at(arb(64))


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("exponent", [fmpq(-17, 10), fmpq(1, 2), fmpq(-3), fmpq(1, 3)])
def test_terms_and_rest_enclose_the_function(thorough, exponent):
    rules = Rules(8, thorough)
    base = Growth(((Order(p=fmpq(1)), coefficient(1)), (ONE, coefficient(4))))  # t + 4, its rest half of t at 8
    made = {
        "power": (rules.power(base, exponent), lambda t: (t + 4) ** (mpmath.mpf(int(exponent.p)) / int(exponent.q))),
        "sigmoid": (RULES["sigmoid"](rules, rules.power(base, fmpq(-1))), lambda t: 1 / (1 + mpmath.exp(-1 / (t + 4)))),
        "exp": (RULES["exp"](rules, rules.power(base, fmpq(-1))), lambda t: mpmath.exp(1 / (t + 4))),
    }
    for name, (growth, function) in made.items():
        for t in (8, 9, 20, 1000):
            terms = sum((c.ball * o.at(arb(t)) for o, c in growth.terms), arb(0))
            error = growth.rest[1] * growth.rest[0].at(arb(t))
            gap = abs(terms - arb(mpmath.nstr(function(mpmath.mpf(t)), 15)))
            assert gap.lower() <= error.upper() + 1e-13, (name, t, terms, error)


def test_coefficients_are_exact_where_they_can_be():
    assert (coefficient(Rational(1, 2)) - coefficient(1 / pi) * coefficient(pi / 2)).is_zero
    assert (coefficient(sqrt(2)) * coefficient(sqrt(2)) - coefficient(2)).is_zero
    assert (coefficient(sqrt(6)) - coefficient(sqrt(2)) * coefficient(sqrt(3))).is_zero
    assert (coefficient(fmpq(2, 3)).power(fmpq(1, 2)) - coefficient(sqrt(6) / 3)).is_zero
    assert (coefficient(2 * pi).power(fmpq(-1, 2)) - coefficient(1 / sqrt(2 * pi))).is_zero
    assert not (coefficient(pi) - coefficient(fmpq(355, 113))).is_zero
