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
        if extremum is not None and extremum.at is not None:
            check_place(tape, c, extremum)
    slope = derivative(tape)
    for piece in c.pieces:
        inside = [x for x in points if piece.low + 1e-9 < x < piece.high - 1e-9]
        if piece.lipschitz is not None:
            for x in inside:
                steep = slope.mpmath(x, 50)
                # Far out the reference divides infinities, as it sets exp(u) to inf beyond 2**80.
                assert abs(steep) <= piece.lipschitz.high + tiny or (abs(x) > 1e12 and mpmath.isnan(steep)), (x, piece)
    for one in c.breaks or ():
        with mpmath.workdps(40):
            step = mpmath.mpf(10) ** -14 * max(1, abs(one.at.mid))
            ends = one.at.mid - step, one.at.mid + step
        left, right = (tape.mpmath(x, 50) for x in ends)
        assert abs(left - one.left.mid) < 1e-9 and abs(right - one.right.mid) < 1e-9, one
    if c.breaks == ():
        with mpmath.workdps(60):
            h = mpmath.mpf(10) ** -20
            for x in {*points, 0, *(p.at.mid for p in (c.minimum, c.maximum) if p and p.at and abs(p.at.mid) < 99)}:
                low, mid, high = (tape.mpmath(x + k * h, 60) for k in (-1, 0, 1))
                left, right = (mid - low) / h, (high - mid) / h
                assert abs(left - right) < 1e-6 * (1 + abs(left)), (x, left, right)
    if c.sign_changes is not None:
        for change in c.sign_changes:
            with mpmath.workdps(50):
                outside = [mpmath.mpf(change.low) - 1e-12, mpmath.mpf(change.high) + 1e-12]
                assert mpmath.sign(tape.mpmath(outside[0], 50)) * mpmath.sign(tape.mpmath(outside[1], 50)) == -1, change
        ends = [-math.inf, *(e for change in c.sign_changes for e in (change.low, change.high)), math.inf]
        for low, high in zip(ends[::2], ends[1::2]):
            signs = {mpmath.sign(v) for x, v in values.items() if low < x < high} - {0}
            assert len(signs) <= 1, (low, high, signs)


def check_place(tape: Tape, c: Certificate, extremum) -> None:
    """g attains its extremum in the place, or comes near it on one side of a break."""
    low, high = extremum.at.low, extremum.at.high
    if math.isinf(low):
        low = min(high, 50.0) - 50.0
    if math.isinf(high):
        high = low + 50.0
    with mpmath.workdps(50):
        points = [low + mpmath.mpf(high - low) * k / 64 for k in range(65)]
        values = [tape.mpmath(x, 50) for x in points]
        broken = [b for b in c.breaks or () if b.at.low <= high and low <= b.at.high]
        values += [v for b in broken for v in (b.left.mid, b.right.mid)]
        # Between two points 1/64 of the width apart g may be off by their distance times its slope.
        slopes = [p.lipschitz.high for p in c.pieces if p.lipschitz is not None and low <= p.high and p.low <= high]
        spare = mpmath.mpf(10) ** -12 + (high - low) / mpmath.mpf(128) * max(slopes, default=1)
        value = extremum.value
        assert any(value.low - spare <= v <= value.high + spare for v in values), (extremum, values[32])


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
