import math

import mpmath
import pytest

from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.certificates.enclosure import Enclosure
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.tape import Tape


def of(text):
    return certificate(Tape.of(parse(text)))


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


@pytest.mark.parametrize(
    "text",
    [
        "square(where(abs(x) < 2, 0, 1))*(x - 0.5)*(x + 0.5)*exp(-x**2)",
        "sqrt(where(abs(x) < 2, 0, 1))*(x - 0.5)*(x + 0.5)*exp(-x**2)",
        "abs(where(abs(x) < 2, 0, 1))*(x - 0.5)*(x + 0.5)*exp(-x**2)",
        "square(tanh(where(abs(x) < 2, 0, 1)))*(x - 0.5)*(x + 0.5)*exp(-x**2)",
        "sqrt(where(abs(x) < 2, 0, 1)*sqrt(1 + x**2))*(x - 0.5)*(x + 0.5)*exp(-x**2)",
    ],
)
def test_a_stretch_of_0_has_no_sign_changes_inside(text):
    c = of(text)
    assert c.sign_changes in ((), None)
    assert all(
        c.minimum.value.low <= Tape.of(parse(text)).mpmath(k / 7) <= c.maximum.value.high for k in range(-30, 30)
    )


def test_a_square_of_a_clipped_line_has_a_mass():
    c = of("square(max(0, x))*exp(-x)")
    assert c.sign_changes == () and c.negative_mass.high < 1e-20 and c.unproven == ()


@pytest.mark.parametrize("text", ["exp(-(0.1*(x - 3.3))**8)", "exp(-abs(x - 0.3)**3.5)", "exp(-square(x**3 - x))"])
def test_falls_beyond_every_known_order_vanish(text):
    c = of(text)
    assert c.verdict.proven and c.limits == (Enclosure(0.0, 0.0), Enclosure(0.0, 0.0)) and c.sign_changes == ()
