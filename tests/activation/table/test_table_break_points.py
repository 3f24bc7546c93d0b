"""Break points: exact on straight lines, certified elsewhere, none that a formula does not have."""

from fractions import Fraction

import numpy as np
import pytest

from sugar_search.activation.table import break_points as module
from sugar_search.activation.table.break_points import break_points
from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.tape import Tape


def found(text):
    return [(point.at, point.value) for point in break_points(Tape.of(parse(text)))]


def test_places_and_values_are_exact_on_straight_lines():
    assert found("where(x > 0.1, 1, 0)") == [(Fraction(1, 10), None)]
    assert found("where(x > 0.25, 1, 0)") == [(Fraction(1, 4), 0.0)]
    assert found("where(x >= 0.25, 1, 0)") == [(Fraction(1, 4), 1.0)]
    assert found("where(0.2*x > 0.05, 1, 0)") == [(Fraction(1, 4), 0.0)]
    assert found("sign(x)") == [(Fraction(0), 0.0)]
    assert found("min(1, max(0, 0.5 + x/7))") == [(Fraction(-7, 2), 0.0), (Fraction(7, 2), 1.0)]
    assert [at for at, _ in found("max(0, 1 - abs(2*(x + 0.25)))")] == [
        Fraction(-3, 4),
        Fraction(-1, 4),
        Fraction(1, 4),
    ]


def test_smooth_formulas_have_none():
    assert found("sigmoid(x)*exp(-x*x)") == []
    assert found("sqrt(1 + x*x)/(1 + abs(1 + x*x))") == []
    assert found("(1 + x*x)**0.3/(1 + x*x)") == []


def test_a_branch_that_is_not_taken_has_none():
    assert found("where(x > 0, 1, abs(x - 2)*exp(-x*x))") == [(Fraction(0), pytest.approx(2.0))]
    assert [at for at, _ in found("max(0, 0.3 - abs(abs(x) - 1))*0.5")] == [
        Fraction(k, 10) for k in (-13, -10, -7, 7, 10, 13)
    ]


def test_a_root_bends_where_its_argument_is_0():
    assert [at for at, _ in found("sqrt(abs(x - 0.7))*exp(-x*x)")] == [Fraction(7, 10)]


@pytest.mark.parametrize("text", ["max(sigmoid(x), 0.8*exp(-x**2))", "where(x**2 > 2, 1, 0)", "abs(exp(-x*x) - 0.5)"])
def test_other_conditions_break_where_certificates_say(text):
    tape = Tape.of(parse(text))
    expected = certificate(tape).breaks
    points = break_points(tape)
    assert len(points) == len(expected) > 0
    for point, one in zip(points, expected, strict=True):
        assert abs(float(point.at) - one.at.mid) < 1e-14


def test_lines_agree_with_certificates(monkeypatch):
    text = "where(x > 0.3, where(x < 0.8, 0.5, 1), abs(x + 1)*exp(x))"
    lines = break_points(Tape.of(parse(text)))

    def refuse(tape):
        raise module.NotOnLines

    monkeypatch.setattr(module, "on_lines", refuse)
    certified = break_points(Tape.of(parse(text)))
    assert [float(p.at) for p in certified] == pytest.approx([float(p.at) for p in lines], abs=1e-15)
    assert [p.value is None for p in certified] == [p.value is None for p in lines]


def test_a_root_at_0_is_0():
    assert found("where(sigmoid(x) > 0.5, 1, 0.25)") == [(Fraction(0), 0.25)]


def test_no_float_equals_the_place_where_there_is_no_value():
    for at, value in found("where(x > 0.7, 1, where(x > -0.1, 0.5, where(x > -3, 0.2, 0)))"):
        assert (value is None) == (Fraction(float(np.float32(float(at)))) != at)
