import mpmath
import pytest
from sympy import Integer

from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.certificate import certificate
from sugar_search.symbolic.certificates.tail import tail
from sugar_search.symbolic.certificates.words import certificate_lines
from sugar_search.symbolic.certificates.working import working
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.steps import Step
from sugar_search.symbolic.tape import Tape


def of(text):
    return certificate(Tape.of(parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "sqrt(1 - exp(-x**2))*exp(-x**2)",
        "sqrt(x**4 + x**2)*exp(-x**2)",
        "(1 - 1/(1 + x**2))**(1/3)*exp(-x**2)",
        "sqrt(sqrt(1 + x**2) - 1)*exp(-abs(x))",
        "where(x > 0, 1, 1)*sqrt(1 - exp(-x**2))*exp(-x**2)",
        "max(0, x - 1)*sqrt(1 - exp(-square(x - 3)))*exp(-x)",
        "sqrt(1 - exp(-square(x - 20)))*exp(-abs(x))",
        "sqrt(1 - exp(-square(x - 1/3)))*exp(-x**2)",
    ],
)
def test_a_root_that_touches_0_is_not_called_smooth(text):
    c = of(text)
    assert c.verdict.proven and c.breaks is None and c.pieces == ()
    assert "the break points: a root of what may touch 0" in c.unproven
    assert not any("smooth" in words for _, words in certificate_lines(c))


@pytest.mark.parametrize(
    "text", ["1/sqrt(1 + x**2)", "(1 + x**2)**(-1.3)", "sqrt(sigmoid(x))", "sqrt(1 - tanh(x)**2)", "sqrt(2 - tanh(x))"]
)
def test_a_root_of_what_stays_positive_is_smooth(text):
    c = of(text)
    assert c.breaks == () and len(c.pieces) == 1 and c.unproven == ()


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("sqrt(square(tanh(x)))*exp(-x**2)", [0]),
        ("sqrt(square(x - 1)*square(x + 2))*exp(-x**2)", [-2, 1]),
        ("sqrt(abs(x))*exp(-abs(x))", [0]),
        ("sqrt(square(sigmoid(x) - 0.25))*exp(-abs(x))", [-mpmath.log(3), 0]),
        # The condition changes nothing at 0, but the root does.
        ("where(x > 0, 1, 1)*sqrt(square(tanh(x)))*exp(-x**2)", [0]),
        ("where(x > 0, sqrt(square(tanh(x))), sqrt(square(tanh(x))))*exp(-x**2)", [0]),
    ],
)
def test_isolated_zeros_under_a_root_are_kinks(text, places):
    c = of(text)
    assert [b.kind for b in c.breaks] == ["kink"] * len(places)
    assert [b.at.mid for b in c.breaks] == pytest.approx([float(p) for p in places], abs=1e-12)
    assert c.sign_changes == ()


def rooted(text):
    """sqrt(square(.)) of a formula step by step, which parsing would turn into abs."""
    steps = Tape.of(parse(text)).steps
    n = len(steps)
    return Tape((*steps, Step("square", (n - 1,)), Step("sqrt", (n,))))


@pytest.mark.parametrize(("text", "places"), [("tanh(x)*sigmoid(x)", [0]), ("atan(x)*tanh(x - 1)", [0, 1])])
def test_a_factor_with_a_simple_root_is_cut_out(text, places):
    tape = rooted(text)
    c = certificate(tape)
    assert [b.at.mid for b in c.breaks] == places and len(c.pieces) == len(places) + 1
    # A condition that changes nothing at 0 does not hide the kink there.
    n = len(tape.steps)
    choice = (Step("const", (), 0.0, Integer(0)), Step("gt", (0, n)), Step("where", (n + 1, n - 1, n - 1)))
    assert tape.steps[0].op == "x"
    assert [b.at.mid for b in certificate(Tape((*tape.steps, *choice))).breaks] == places


def test_a_root_that_touches_0_in_a_tail_is_not_called_smooth():
    c = certificate(rooted("exp(-exp(x)) - exp(-5000)*exp(-exp(x - 1))"))  # 0 near x = 9
    assert c.verdict.proven and c.breaks is None and "the break points: a root of what may touch 0" in c.unproven
    with working(64):
        sides = [tail(Program(rooted(text)), 1).touches for text in ("exp(-exp(x)) - exp(-x*exp(x))", "exp(-x)")]
    assert sides == [True, False]
