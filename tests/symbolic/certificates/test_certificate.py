import json
import math

import mpmath
import pytest
from formulas import FORMULAS, REPEATABLE
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sugar_search import catalog
from sugar_search.errors import FormulaError
from sugar_search.symbolic.certificates.admission import Status
from sugar_search.symbolic.certificates.certificate import Certificate, certificate
from sugar_search.symbolic.certificates.derivative import derivative
from sugar_search.symbolic.certificates.enclosure import Enclosure
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape


def tape_of(text):
    return Tape.of(parse(text))


def of(text):
    return certificate(tape_of(text))


GRID = sorted(
    {s * k / 16 for k in range(160) for s in (1, -1)} | {s * 10.0**k for k in range(-12, 31) for s in (1, -1)}
)


def check(tape: Tape, c: Certificate, points) -> None:
    """Every property against 50-digit values at points, and the expectations against quadrature."""
    values = {x: tape.mpmath(x, 50) for x in points}
    tiny = mpmath.mpf(10) ** -40
    if c.minimum is not None:
        assert all(v >= c.minimum.value.low - tiny for v in values.values())
    if c.maximum is not None:
        assert all(v <= c.maximum.value.high + tiny for v in values.values())
    for extremum in (c.minimum, c.maximum):
        if extremum is not None and extremum.at is not None and extremum.at.width < 1e-6:
            near = [tape.mpmath(mpmath.mpf(extremum.at.mid) + d, 50) for d in (0, 1e-7, -1e-7)]
            assert min(abs(v - extremum.value.mid) for v in near) < 1e-4 * (1 + abs(extremum.value.mid))
    slope = derivative(tape)
    for piece in c.pieces:
        inside = [x for x in points if piece.low + 1e-9 < x < piece.high - 1e-9]
        if piece.lipschitz is not None:
            for x in inside:
                assert abs(slope.mpmath(x, 50)) <= piece.lipschitz.high + tiny, (x, piece)
    for one in c.breaks or ():
        with mpmath.workdps(40):
            step = mpmath.mpf(10) ** -14 * max(1, abs(one.at.mid))
            ends = one.at.mid - step, one.at.mid + step
        left, right = (tape.mpmath(x, 50) for x in ends)
        assert abs(left - one.left.mid) < 1e-9 and abs(right - one.right.mid) < 1e-9, one
    if c.sign_changes is not None:
        ends = [-math.inf, *(e for change in c.sign_changes for e in (change.low, change.high)), math.inf]
        for low, high in zip(ends[::2], ends[1::2]):
            signs = {mpmath.sign(v) for x, v in values.items() if low < x < high} - {0}
            assert len(signs) <= 1, (low, high, signs)


def quadrature(tape: Tape, c: Certificate):
    """Square, mean and negative mass by mpmath between breaks and sign changes."""
    cuts = {-12.0, -4.0, -1.0, 0.0, 1.0, 4.0, 12.0}
    cuts |= {b.at.mid for b in c.breaks or ()} | {s.mid for s in c.sign_changes or () if s.width < 1}
    cuts = sorted(x for x in cuts if -12 <= x <= 12)
    weight = lambda x: mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)  # noqa: E731
    with mpmath.workdps(15):
        square = mpmath.quad(lambda x: tape.mpmath(x, 15) ** 2 * weight(x), cuts, maxdegree=4)
        mean = mpmath.quad(lambda x: tape.mpmath(x, 15) * weight(x), cuts, maxdegree=4)
        left = [x for x in cuts if x <= 0]
        mass = mpmath.quad(lambda x: abs(tape.mpmath(x, 15)) * weight(x), left, maxdegree=4)
    return float(square), float(mean), float(mass)


@settings(max_examples=70, **REPEATABLE)
@given(FORMULAS, st.lists(st.floats(-9, 9), min_size=10, max_size=10))
def test_random_certificates_hold(text, points):
    try:
        tape = tape_of(text)
    except FormulaError:
        assume(False)
    c = certificate(tape)
    assume(c.verdict.proven)
    check(tape, c, points + GRID[::9])


@pytest.mark.parametrize("name", catalog.find("surrogates"))
def test_families_are_certified_in_full(name):
    for region in ("all", "negative"):
        tape = surrogate(name, region=region).tape
        c = certificate(tape)
        assert c.verdict.proven and c.unproven == ()
        check(tape, c, GRID[::3])
        assert all(e.width < 1e-9 for e in (c.gain, c.mean, c.negative_mass, c.minimum.value, c.maximum.value))
        assert all(p.lipschitz.width < 1e-9 * (1 + p.lipschitz.mid) for p in c.pieces)


@pytest.mark.parametrize("name", ["bsilu", "mish", "gelu", "selu", "nelu", "hardswish", "triangular", "fast_sigmoid"])
def test_expectations_agree_with_quadrature(name):
    tape = surrogate(name).tape
    c = certificate(tape)
    square, mean, mass = quadrature(tape, c)
    assert c.gain.mid == pytest.approx(2 * square, abs=1e-6)
    assert c.mean.mid == pytest.approx(mean, abs=1e-6)
    assert c.negative_mass.mid == pytest.approx(mass, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "low", "at_low", "high", "at_high"),
    [
        ("bsilu", "-0.0237", "-3.765", "1.2904", "1.4915"),
        ("gelu", "-0.1289", "-1.414", None, None),
        ("silu", "-0.0998", "-2.399", None, None),
        ("mish", "-0.1125", "-2.256", None, None),
    ],
)
def test_extrema_have_the_published_digits(name, low, at_low, high, at_high):
    c = certificate(surrogate(name).tape)
    found = [(low, c.minimum.value), (at_low, c.minimum.at), (high, c.maximum.value), (at_high, c.maximum.at)]
    for digits, enclosure in found:
        if digits is not None:
            places = len(digits.split(".")[1])
            assert abs(enclosure.mid - float(digits)) <= 0.5 * 10**-places * 1.02, (digits, str(enclosure))
            assert enclosure.width < 1e-9


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_nelu_has_the_published_minimum(alpha):
    minimum = certificate(surrogate("nelu", alpha=alpha).tape).minimum
    assert f"{minimum.value.low / alpha:.4f}" == f"{minimum.value.high / alpha:.4f}" == "-0.6495"
    assert f"{minimum.at.mid:.3f}" == "-0.577"


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("selu", "2.14"),
        ("bsilu", "1.70"),
        ("elu", "1.34"),
        ("leakyrelu", "1.00"),
        ("nelu", "1.00"),
        ("mish", "0.96"),
        ("gelu", "0.91"),
        ("silu", "0.76"),
        ("relu", "1.00"),
    ],
)
def test_gains_have_the_published_digits(name, gain):
    c = certificate(surrogate(name).tape)
    assert f"{c.gain.low:.2f}" == f"{c.gain.high:.2f}" == gain


def test_bsilu_at_zero_is_as_published():
    assert abs(surrogate("bsilu").tape.mpmath(0) - mpmath.mpf("0.9175")) < 1e-15


def test_maximum_beyond_the_first_radius_is_found():
    c = of("exp(-square(0.2*(x - 30)))")
    assert c.maximum.value.mid == pytest.approx(1, abs=1e-12) and 30 in c.maximum.at
    c = of("x/(1 + 0.001*x**2)")
    assert c.maximum.at.mid == pytest.approx(math.sqrt(1000), rel=1e-6)


def test_suprema_that_are_only_approached_name_the_tail():
    c = of("sigmoid(x)")
    assert (c.minimum.tail, c.maximum.tail) == ("-oo", "+oo") and c.maximum.at is None
    assert c.maximum.value == Enclosure(1.0, 1.0) == c.limits[1]


def test_plateaus_are_told_as_intervals():
    c = certificate(surrogate("relu").tape)
    assert c.minimum.at == Enclosure(-math.inf, 0.0) and c.maximum.at == Enclosure(0.0, math.inf)
    assert c.sign_changes == ()  # from 0 to 1 is no change of sign


def test_the_value_at_a_break_counts():
    c = of("sign(x)**2")
    assert c.minimum.value == Enclosure(0.0, 0.0) and 0 in c.minimum.at
    (one,) = c.breaks
    assert (one.left.mid, one.right.mid, one.value.mid, one.kind) == (1, 1, 0, "jump")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("where(x > 0.3, 1, exp(x))", [(0.3, "jump")]),
        ("min(1, max(0, 0.5 + 0.2*x))", [(-2.5, "kink"), (2.5, "kink")]),
        ("where(x > 0, max(0, 1 - x), max(0, 1 + x))", [(-1, "kink"), (0, "kink"), (1, "kink")]),
        ("where(sigmoid(x) > 0.3, 1, 0)", [(math.log(3 / 7), "jump")]),
        ("max(tanh(x), x*normal_pdf(0))*exp(-x**2)", [(-2.47109, "kink"), (0, "kink"), (2.47109, "kink")]),
        ("where(x > 1, x, x)*exp(-x**2)", []),
        ("max(0, abs(x))*exp(-x**2)", [(0, "kink")]),
    ],
)
def test_breaks_are_found_and_named(text, expected):
    found = of(text).breaks
    assert [b.kind for b in found] == [kind for _, kind in expected]
    assert [b.at.mid for b in found] == pytest.approx([x for x, _ in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("x*exp(-x**2)", [0]),
        ("x**2*exp(-x**2)", []),
        ("(x - 1)*(x + 2)*exp(-x**2)", [-2, 1]),
        ("where(x > 0, 1, -0.1)", [0]),
        ("where(x > 0, 1, where(x > -1, 0, -1))", [-0.5]),
        ("1 - exp(-x**2)", []),
        ("abs(exp(-x**2) - 0.5)", []),
        ("exp(-x**2) - 0.5", [-math.sqrt(math.log(2)), math.sqrt(math.log(2))]),
        ("x*abs(x)*exp(-abs(x))", [0]),
        ("x*tanh(x)*exp(-x**2)", []),
        ("atan(x)*max(softplus(0.1*(x - 3)), abs(x))*exp(-x**2)", [0]),  # abs changes at 0, where max hides it
        ("(1 - softplus(x))*exp(-abs(x))", [math.log(math.e - 1)]),
    ],
)
def test_sign_changes_are_counted(text, points):
    found = of(text).sign_changes
    assert found is not None and [c.mid for c in found] == pytest.approx(points, abs=1e-6)


def test_roots_are_narrow_and_right_where_newton_overshoots():
    (change,) = of("erf(20*(x - 0.7)) + 0.3").sign_changes
    with mpmath.workdps(30):
        root = mpmath.mpf("0.7") - mpmath.erfinv(mpmath.mpf("0.3")) / 20
        assert mpmath.mpf(change.low) - 1e-17 <= root <= mpmath.mpf(change.high) + 1e-17
    assert change.width < 1e-14
    # Newton's step alone makes no headway here: the slope covers ten orders of magnitude.
    (change,) = of("(exp(3*x) - 2)*exp(-x**2)").sign_changes
    assert change.mid == pytest.approx(math.log(2) / 3, abs=1e-15) and change.width < 1e-14


def test_an_unbounded_slope_has_no_lipschitz_constant():
    c = of("sqrt(abs(x))/(1 + abs(x))")
    assert all(piece.lipschitz is None for piece in c.pieces)
    assert c.maximum.value.mid == pytest.approx(0.5) and any("Lipschitz" in u for u in c.unproven)


def test_unproven_parts_are_named_and_the_rest_stays():
    c = of("max(1, 1 + square(x - 1/3))/(1 + square(x - 1/3))")  # the condition touches 0 without changing sign
    assert c.verdict.proven and c.breaks is None
    assert any("break points" in u for u in c.unproven)
    assert 1.9 < c.gain.low <= 2 <= c.gain.high < 2.1  # g is 1, by coarse enclosure


def test_an_inadmissible_function_has_only_its_verdict():
    c = of("x*exp(-x)")
    assert c.verdict.status is Status.REFUTED and c.gain is None and c.minimum is None and c.unproven


def test_certificates_are_json():
    for name in ("relu", "bsilu", "hardswish"):
        text = json.dumps(certificate(surrogate(name).tape).to_dict(), allow_nan=False)
        assert json.loads(text)["verdict"]["status"] == "proven"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1.290415, 1.290415, "1.290415"),
        (1.2903771, 1.2903774, "1.290377"),
        (0.97, 0.98, "[0.97, 0.98]"),
        (0.0, 0.0, "0"),
        (-1e-20, 1e-20, "0"),
        (1.0, 1.0, "1"),
        (1 - 1e-12, 1 + 1e-12, "1"),
        (-math.inf, 0.0, "[-inf, 0]"),
        (1.29041499999, 1.29041500001, "1.290415"),
        (123456.7, 123456.8, "123457"),
        (-3.76488011, -3.76488009, "-3.76488"),
        (1e-12, 1.0001e-12, "1e-12"),
    ],
)
def test_enclosures_print_the_certain_digits(low, high, text):
    assert str(Enclosure(low, high)) == text


@pytest.mark.long
@settings(max_examples=1500, **REPEATABLE)
@given(FORMULAS, st.lists(st.floats(-9, 9), min_size=10, max_size=10))
def test_many_random_certificates_hold(text, points):
    try:
        tape = tape_of(text)
    except FormulaError:
        assume(False)
    c = certificate(tape)
    assume(c.verdict.proven)
    check(tape, c, points + GRID[::9])
