import math

import pytest

from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.certificates.enclosure import Enclosure
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape


def of(text):
    return certificate(Tape.of(parse(text)))


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


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("exp(-(x - 0.3)**4)", 0.3),
        ("exp(-(x - 1/3)**6)", 1 / 3),
        ("exp(-(0.1*(x - 3.3))**8)", 3.3),
        ("exp(-abs(x - 0.3)**3.5)", 0.3),
        ("-exp(-(x - 0.3)**4)", 0.3),
        ("sqrt(abs(x))*exp(-abs(x))", -0.5),
    ],
)
def test_the_place_of_a_flat_extremum_is_an_interval_that_holds_it(text, at):
    c = of(text)
    place = (c.minimum if text.startswith("-") else c.maximum).at
    assert at in place and place.width < 2
    assert "(x - 0.3)**4" not in text or place.width < 0.01


def test_a_maximum_at_a_certain_place_is_not_blurred():
    # The bounds of g where it is tiny reach under its minimum of 0 by a rounding error.
    minimum = of("sqrt(square(tanh(x)))*exp(-x**2)").minimum
    assert minimum.at == Enclosure(0.0, 0.0) and 0 in minimum.value
