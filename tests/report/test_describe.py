"""`show`: what it tells is right and readable, as text and as JSON."""

import json
import time
from pathlib import Path

import pytest
import sympy

from sugar_search.errors import InputError
from sugar_search.report.describe import describe, find, to_json, to_lines
from sugar_search.report.notation import latex, pretty
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate

BSILU = "sigmoid(x)+(x+1.67)*sigmoid(x)*(1-sigmoid(x))"


def _rows(text):
    """Label -> text; a label's further lines are joined."""
    rows, label = {}, ""
    for line in text.split("\n\n", 1)[1].splitlines():
        label = line[:14].strip() or label
        rows[label] = f"{rows[label]}; {line[14:]}" if label in rows else line[14:]
    return rows


def test_bsilu_is_recognised_and_its_numbers_are_the_known_ones():
    rows = _rows(to_lines(describe(find(BSILU, Path("none")))))
    assert "B-SiLU(α=1.67) (the same function)" in rows["nearest known"]
    assert rows["maximum"].startswith("1.2903") and "1.4915" in rows["maximum"]
    assert rows["minimum"].startswith("-0.0237") and "-3.76" in rows["minimum"]
    assert rows["admission"].startswith("proven") and "0 as x -> -oo, 1 as x -> +oo" in rows["limits"]
    assert rows["breaks"].startswith("none") and rows["gain"].startswith("1.699")
    assert "found here" in rows["activation"] and "- 0.835" in rows["activation"]
    assert "unproven" not in rows
    assert rows["id"] == surrogate("bsilu").id


def test_breaks_and_pieces_are_told_one_by_one():
    rows = _rows(to_lines(describe(surrogate("where(x > 0.1, 1, 0.3*abs(x)*normal_cdf(x))"))))
    assert "kink at x = 0" in rows["breaks"] and "jump at x = 0.1" in rows["breaks"]
    assert all(part in rows["Lipschitz"] for part in ("for x < 0", "for 0 < x < 0.1", "for x > 0.1"))
    assert "distance" in rows["nearest known"]


def test_a_family_keeps_the_activation_that_it_gives():
    rows = _rows(to_lines(describe(surrogate("nelu"))))
    assert rows["activation"] == "where(x > 0, x, 0.01*x**2/(x**2 + 1))"
    assert "Horuz" in rows["source"] and rows["surrogate"] == "NeLU(α=0.01)"


def test_what_is_not_proven_is_said_with_its_cause(monkeypatch):
    from dataclasses import replace

    from sugar_search.report import describe as module

    whole = module.certificate(surrogate("bsilu").tape)
    part = replace(whole, gain=None, sign_changes=None, unproven=("the gain: too slow", "the sign changes: odd"))
    monkeypatch.setattr(module, "certificate", lambda tape: part)
    rows = _rows(to_lines(describe(surrogate("bsilu"))))
    assert rows["unproven"] == "the gain: too slow; the sign changes: odd"
    assert "gain" not in rows and "sign changes" not in rows and "mean" in rows


def test_an_activation_without_closed_form_is_said_not_invented(monkeypatch):
    from sugar_search.report import describe as module

    monkeypatch.setattr(module, "antiderivative", lambda g: None)
    about = describe(surrogate("exp(-exp(x))*sigmoid(x)"))
    assert "none given, and none found" in to_lines(about)
    assert json.loads(to_json(about))["activation"] is None


def test_json_holds_the_same():
    content = json.loads(to_json(describe(surrogate("elu"))))
    assert content["event"] == "surrogate" and content["nearest"]["distance"] == 0
    assert content["certificate"]["verdict"]["status"] == "proven"
    assert content["code_errors"]["bfloat16"] < 4e-3
    assert surrogate(content["derivative"]).id == content["id"] == surrogate("elu").id


def test_a_trial_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match="STUDY"):
        find("nostudy#3", tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-0.5*sqrt(pi)*erf(x)", r"- 0.5 \sqrt{\pi} \operatorname{erf}{\left(x \right)}"),
        ("where(x < -2, exp(-0.5)*x, 1)", r"\begin{cases} \frac{x}{e^{\frac{1}{2}}} & \text{for}\: x < -2"),
        ("(1 + abs(x))**1.7/3", r"\frac{\left(\left|{x}\right| + 1\right)^{1.7}}{3}"),
        ("max(0, 1 - abs(x))**2", r"\operatorname{max}^{2}{\left(0,1 - \left|{x}\right| \right)}"),
        (
            "where(x > 0, 1, x)**2",
            r"\left(\begin{cases} 1 & \text{for}\: x > 0 \\x & \text{otherwise} \end{cases}\right)^{2}",
        ),
        (
            "where(x > 0, 1, exp(x))**2*x",
            r"x \left(\begin{cases} 1 & \text{for}\: x > 0 \\e^{2 x} & \text{otherwise} \end{cases}\right)",
        ),
        (
            "where(where(x > 0, 1, x) > 0.5, 1, x)",
            r"\begin{cases} 1 & \text{for}\: \operatorname{where}{\left(x > 0,1,x \right)} > 0.5",
        ),
        ("tanh(x)**2", r"\tanh^{2}{\left(x \right)}"),
        ("sigmoid(1.5*x)*normal_pdf(x)", r"\phi{\left(x \right)} \sigma{\left(1.5 x \right)}"),
    ],
)
def test_latex(text, expected):
    assert latex(parse(text)).startswith(expected)
    assert "\n" not in latex(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "min(tanh(x), min(softplus(x), exp(normal_pdf(x))))",
        "max(max(max(x*normal_pdf(x), tanh(x)), sigmoid(x)), exp(-x*x))",
        "where(where(x > where(x > 0, 1, 0.5), x, -1) > 0, exp(-x*x), 0.1)",
    ],
)
def test_nested_conditions_are_written_at_once(text):
    expression = parse(text)
    for write in (latex, pretty):
        start = time.process_time()
        assert write(expression)
        assert time.process_time() - start < 0.3


def test_minima_and_maxima_are_written_as_such():
    assert pretty(parse("min(1, max(0, x))"), "") == "min(1, max(0, x))"


def test_parameters_are_told_with_their_values():
    made = surrogate("where(x > 0, 1, a*exp(rate*x))", a=0.25, rate=1.662)
    about = describe(made)
    assert _rows(to_lines(about))["parameters"] == "a = 0.25, rate = 1.662"
    assert json.loads(to_json(about))["parameters"] == {"a": 0.25, "rate": 1.662}
    assert "parameters" not in _rows(to_lines(describe(surrogate("relu"))))


def test_what_float16_cannot_hold_is_said():
    assert _rows(to_lines(describe(surrogate("1e-9*exp(-x*x)"))))["code errors"].endswith(
        "g is below float16's smallest normal numbers"
    )
    assert "below" not in _rows(to_lines(describe(surrogate("bsilu"))))["code errors"]


def test_pretty_formulas_show_the_decimals_that_were_written():
    shown = pretty(parse("where(x > 0.25, 1.67*x, tanh(0.5)*x)"))
    assert "1.67⋅x" in shown and "x⋅tanh(0.5)" in shown and "for x > 0.25" in shown
    assert all(line.startswith("  ") and line == line.rstrip() for line in shown.splitlines() if line)
    assert sympy.pretty(parse("x")) in pretty(parse("x"))


def test_braces_within_products_are_not_taken_for_complex_numbers():
    least = "min(x**2 - 1.67*x, x*where(x > pi, 1.67, x))"
    text = (
        f"(sigmoid((1/x)*(x**2)) + where(x > max(x, 2) - 1/x, x, {least} + 1/x))"
        f"*(where(1/x > {least} + 1/x, x, 1/x)*where({least} + 1/x < 1/x, x, 1/x))"
    )
    assert latex(parse(text)) and pretty(parse(text))
