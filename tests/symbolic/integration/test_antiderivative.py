"""Activations found for derivatives: right, continuous, 0 at 0, short, and never later than the time limit."""

import subprocess
import sys
import time

import mpmath
import pytest
from formulas import FORMULAS, REPEATABLE
from hypothesis import given, settings

from sugar_search import catalog
from sugar_search.errors import FormulaError
from sugar_search.symbolic.integration import antiderivative as module
from sugar_search.symbolic.integration.ansatz import by_ansatz
from sugar_search.symbolic.integration.antiderivative import antiderivative
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape
from sugar_search.symbolic.text import to_text


def _check(found, g, points=(-4.1, -0.6, 0.35, 2.9)):
    """f(b) - f(a) is the integral of g by numerical quadrature, and f(0) = 0."""
    f, g = Tape.of(found), Tape.of(g)
    assert abs(f.mpmath(0)) < 1e-25
    for b in points:
        with mpmath.workdps(20):
            cuts = sorted({0, b, *(c for c in (-3, -1, -0.5, 0.25, 0.5, 1, 3) if min(0, b) < c < max(0, b))})
            wanted = mpmath.quad(lambda x: g.mpmath(x, 20), cuts) * (1 if b > 0 else -1)
            assert abs(f.mpmath(b) - wanted) < 1e-9 * (1 + abs(wanted)), b


@pytest.mark.parametrize("name", catalog.names("surrogates"))
def test_every_family_is_integrated_without_sympys_help(name, monkeypatch):
    monkeypatch.setattr(module, "_by_sympy", lambda g, seconds: pytest.fail("went to sympy"))
    made = surrogate(name)
    found = antiderivative(made.derivative)
    _check(found, made.derivative)
    if made.activation is not None:
        known, ours = Tape.of(made.activation), Tape.of(found)
        with mpmath.workdps(40):
            for x in (-3.0, -0.2, 0.7, 5.0):
                assert abs(ours.mpmath(x) - (known.mpmath(x) - known.mpmath(0))) < 1e-20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sigmoid(x)*(1 + x*(1 - sigmoid(x)))", "x*sigmoid(x)"),
        ("where(x > 0, 1, 2*0.05*x/(1 + x**2)**2)", "where(x > 0, x, 0.05 - 0.05/(x**2 + 1))"),
        ("exp(-x*x)", "0.5*sqrt(pi)*erf(x)"),
        ("x/(1 + x**2)**1.5", "1 - 1/sqrt(x**2 + 1)"),
        ("max(0, 1 - abs(x))", "where(x > 1, 0.5, where(x > 0, x - 0.5*x**2, where(x > -1, x + 0.5*x**2, -0.5)))"),
        ("0.5 + atan(x)/pi", None),
        ("x**2*normal_pdf(x)", "normal_cdf(x) - 0.5 - x*normal_pdf(x)"),
        ("1.0507009873554805*1.6732632423543772*exp(x)", None),
        ("recip(1 + square(2*x - 1))", "0.5*atan(2*x - 1) + 0.125*pi"),
        ("1/(exp(x) + exp(-x))", "atan(exp(x)) - 0.25*pi"),
        ("1", "x"),
        ("where(x > 0.25, 1, 0)", "max(x - 0.25, 0)"),
    ],
)
def test_short_forms(text, expected):
    found = antiderivative(parse(text), seconds=0)
    _check(found, parse(text), points=(-2.3, 1.9))
    assert expected is None or to_text(found) == expected


def test_what_needs_sympy_gets_it():
    g = parse("where(x > 1, atan(x)/(1 + x*x), exp(x)/(1 + exp(x))**2)")
    assert by_ansatz(parse("atan(x)/(1 + x*x)")) is None
    _check(antiderivative(g, 20), g)


def test_a_process_that_hangs_is_ended_in_time(monkeypatch):
    """Sympy needs much longer than this; 0.3 s of that is starting it."""
    g = parse("exp(-exp(x))*sigmoid(x*x)/(1 + sqrt(1 + x**4))")
    start = time.monotonic()
    assert antiderivative(g, 0.6) is None
    assert time.monotonic() - start < 1.5


@pytest.mark.parametrize(
    "text",
    [
        "where(x < 12345, x, 0.5)*normal_pdf(x)",
        "where(x < 123456789, x, 0.5)*normal_pdf(x)",
        "where(x > -54321, 1, 1/(1 + x*x))*exp(-x*x)",
    ],
)
def test_pieces_far_out_take_no_longer(text):
    """A coefficient there may be 10**-33,000,000."""
    start = time.monotonic()
    antiderivative(parse(text), 0.2)
    assert time.monotonic() - start < 1.2


def test_the_time_limit_holds_between_pieces(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "by_ansatz", lambda *_: calls.append(time.sleep(0.3)) or parse("x"))
    steps = "".join(f"where(x > {k}, {k}, " for k in range(9, 0, -1)) + "0.5" + ")" * 9
    assert antiderivative(parse(steps), 0) is None
    assert len(calls) < 4


@pytest.mark.skipif(sys.platform == "win32", reason="processes have no parents to follow")
def test_the_child_ends_with_its_parent():
    code = (
        "from sugar_search.symbolic.integration.antiderivative import antiderivative as a\n"
        "from sugar_search.symbolic.parse import parse\n"
        "print(flush=True); a(parse('exp(-exp(x))*sigmoid(x*x)/(1 + sqrt(1 + x**4))'), 30)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        parent.stdout.readline()
        child = _wait_for(lambda: _children(parent.pid))
        parent.terminate()
    assert _wait_for(lambda: not any(map(_is_alive, child)))


def _children(pid):
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if int(line.split()[1]) == pid]


def _is_alive(pid):
    return subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True).stdout.strip() not in (
        "",
        "Z",
    )


def _wait_for(found, seconds=8):
    end = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


@pytest.mark.parametrize(
    ("found", "g"),
    [
        (  # jumps at the pole inside the inverse tangent
            "atan(((x-1.3)**2 - 1)/((x-1.3)*sqrt(2)))/sqrt(2) - atan((1.3**2 - 1)/(-1.3*sqrt(2)))/sqrt(2)",
            "(1 + (x-1.3)**2)/(1 + (x-1.3)**4)",
        ),
        ("where(x > 10.5, x + 1, x)", "1"),
        ("where(x > 10.5, x + 1e-18, x)", "1"),
        ("where(x > 30, 30, x)", "1"),
        ("where(x > 12345, erf(12345), erf(x))*sqrt(pi)/2", "where(x < 12345, exp(-x*x), exp(-abs(x)))"),
    ],
)
def test_jumps_and_faults_away_from_the_usual_points_are_seen(found, g):
    assert not module._is_right(parse(found), parse(g))


def test_wrong_integrals_are_not_believed(monkeypatch):
    monkeypatch.setattr(module, "by_ansatz", lambda *_: parse("x*sigmoid(x) + 0.000001*x"))
    assert antiderivative(parse("sigmoid(x)*(1 + x*(1 - sigmoid(x)))"), 0) is None
    monkeypatch.setattr(module, "by_ansatz", lambda *_: parse("x*sigmoid(x)"))
    assert antiderivative(parse("sigmoid(x)*(1 + x*(1 - sigmoid(x)))"), 0) is not None


def test_nothing_is_claimed_for_conditions_that_are_not_linear():
    assert antiderivative(parse("where(exp(x) > 2, 1, 0)"), 0) is None
    assert antiderivative(parse("abs(x*x - 1)*exp(-x*x)"), 0) is None


@settings(max_examples=60, **REPEATABLE)
@given(FORMULAS)
def test_whatever_is_found_is_right_and_can_be_written(text):
    try:
        g = parse(text)
        found = antiderivative(g, 0)
    except FormulaError:
        return
    if found is None:
        return
    assert parse(to_text(found)) == found
    with mpmath.workdps(50):
        x, h = mpmath.mpf("0.613"), mpmath.mpf(10) ** -12
        f = Tape.of(found)
        slope = (f.mpmath(x + h) - f.mpmath(x - h)) / (2 * h)
        wanted = Tape.of(g).mpmath(x)
        assert abs(slope - wanted) <= 1e-9 * (1 + abs(wanted))
