import math

import mpmath
import pytest
from formulas import FORMULAS, REPEATABLE
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sugar_search import catalog
from sugar_search.errors import FormulaError
from sugar_search.symbolic.certificates.admission import Admit, Status, admission, refusal
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape

BSILU = "sigmoid(x) + (x + 1.67)*sigmoid(x)*(1 - sigmoid(x))"


def tape_of(text):
    return Tape.of(parse(text))


def verdict_of(text):
    return admission(tape_of(text))


POINTS = st.lists(
    st.one_of(
        st.floats(-10, 10),
        st.floats(-300, 300).map(lambda k: 10.0**k),
        st.floats(-300, 300).map(lambda k: -(10.0**k)),
        st.sampled_from([0.0, 1.0, -1.0, 8.0, -8.0, 32.0]),
    ),
    min_size=12,
    max_size=12,
)


@settings(max_examples=250, **REPEATABLE)
@given(FORMULAS, POINTS)
def test_verdicts_hold_at_random_points(text, points):
    try:
        tape = tape_of(text)
    except FormulaError:
        assume(False)
    verdict = admission(tape)
    assume(verdict.status is not Status.UNPROVEN)
    if verdict.proven:
        for x in points:
            value = tape.mpmath(x, 50)
            assert mpmath.isfinite(value) and abs(value) <= 1000, (x, value)
    else:
        assert_witness(tape, verdict)


def assert_witness(tape, verdict):
    """A refutation names a place where g really breaks the limit."""
    if verdict.reason == "unbounded tail":
        side = -1 if verdict.detail.endswith("-oo") else 1
        far = [abs(tape.mpmath(side * mpmath.mpf(10) ** k, 400)) for k in (2, 8, 200)]
        assert far[0] < far[1] < far[2]
        return
    x = mpmath.mpf(verdict.detail.rsplit("= ", 1)[1])
    if verdict.detail.startswith("divides by 0"):
        return  # 1/0 may stand inside a bounded function, as in tanh(1/x)
    # The text rounds x to 6 digits: look around it too.
    around = [x * (1 + k * mpmath.mpf(10) ** -6) for k in range(-6, 7)]
    values = [tape.mpmath(at, 50) for at in around]
    assert any(not mpmath.isfinite(v) or abs(v) > 1000 for v in values), (verdict, values)


@pytest.mark.parametrize("name", catalog.find("surrogates"))
def test_every_family_is_proven(name):
    assert admission(surrogate(name).tape).proven
    assert admission(surrogate(name, region="negative").tape).proven


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("softplus", {"beta": 10}),
        ("softplus", {"beta": 0.3}),
        ("triangular", {"width": 0.37}),
        ("celu", {"alpha": 0.2}),
        ("nelu", {"alpha": 0.1}),
        ("bsilu", {"alpha": 50}),
        ("fast_sigmoid", {"slope": 100}),
        ("gaussian", {"sigma": 0.05}),
        ("silu", {"beta": 7.5}),
        ("atan", {"alpha": 5}),
        ("selu", {}),
    ],
)
def test_odd_parameters_are_proven(name, values):
    assert admission(surrogate(name, **values).tape).proven


@pytest.mark.parametrize(
    "text",
    [
        "1/(1 + x**2)",
        "exp(-x**2)*x**3",
        "log1p(x**2)/(1 + x**2)",
        "where(x > 0.3, 1, exp(x))",
        "where(x > 1, exp(-x), exp(x))",
        "x/sqrt(1 + x**2)",
        "tanh(x)**2",
        "1/(1 + exp(-x))",
        "exp(x)/(1 + exp(x))",
        "exp(3000*x)/(1 + exp(3000*x))",
        "sqrt(abs(x))/(1 + abs(x))",
        "min(1, max(0, 0.5 + x))",
        "exp(-exp(x))",
        "where(x > 0, 1/sign(x), 1)",
        "(1 + abs(x))**(-1.7)",
    ],
)
def test_hard_cases_are_proven(text):
    assert verdict_of(text).proven


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("x*exp(-x)", "unbounded tail", "as x -> -oo"),
        ("-x*exp(-x)", "unbounded tail", "as x -> -oo"),
        ("x*(0.5 + atan(x)/pi)", "unbounded tail", "as x -> +oo"),
        ("log1p(abs(x))", "unbounded tail", "as x -> -oo"),
        ("1/(x - 0.3)", "pole", "near x = 0.3"),
        ("1/x", "pole", "= "),
        ("1/sign(x)", "pole", "x = 0"),
        ("tanh(x)/x", "pole", "divides by 0 at x = 0"),
        ("log1p(x)*exp(-x**2)", "not real", "is not a real number at x = -"),
        ("sqrt(x)*exp(-x**2)", "not real", "is not a real number at x = -"),
        ("2000*exp(-x**2)", "too large", "exceeds 1000"),
        ("exp(exp(x))", "too large", "exceeds 1000"),
        ("1001", "too large", "exceeds 1000"),
        ("1500*exp(-square(x - 40))", "too large", "near x = "),
        ("1000.000001 - 5000/(1 + abs(x))", "too large", "near x = "),
    ],
)
def test_refutations_name_the_place(text, reason, words):
    verdict = verdict_of(text)
    assert (verdict.status, verdict.reason) == (Status.REFUTED, reason), verdict
    assert words in verdict.detail
    if reason != "unbounded tail":
        assert_witness(tape_of(text), verdict)


def test_the_limit_is_sharp():
    tape = tape_of("2*exp(-x**2)")
    assert admission(tape, 2.001).proven
    assert admission(tape, 1.999).status is Status.REFUTED
    assert admission(tape, 2.0).status is not Status.REFUTED


def test_a_narrow_pole_between_floats_is_found():
    assert verdict_of("1/(x - 1/3)").status is Status.REFUTED
    assert verdict_of("1/(1e-9 + square(x - 1/3))").status is Status.REFUTED
    assert verdict_of("1/(0.01 + square(x - 1/3))").proven


def test_undecided_is_not_admitted():
    # Removable at 1/3, which no float hits: neither proven nor refuted.
    verdict = refusal(tape_of("tanh(x - 1/3)/(x - 1/3)"), Admit())
    assert verdict is not None and verdict.status is Status.UNPROVEN and verdict.reason == "division by 0"


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("max_gain", 1.8, 1.5),
        ("min_gain", 1.6, 1.8),
        ("max_negative_mass", 0.27, 0.2),
        ("min_negative_mass", 0.2, 0.3),
        ("max_lipschitz", 0.6, 0.5),
        ("max_sign_changes", 1, 0),
        ("max_jump", 0.0, None),
        ("vanishing_tails", "negative", "both"),
    ],
)
def test_rules_admit_and_refuse_bsilu(rule, good, bad):
    tape = tape_of(BSILU)
    assert refusal(tape, Admit(**{rule: good})) is None
    if bad is not None:
        verdict = refusal(tape, Admit(**{rule: bad}))
        assert verdict is not None and (verdict.status, verdict.reason) == (Status.REFUTED, rule)


def test_jumps_and_limits_at_equality():
    relu = surrogate("relu").tape
    assert refusal(relu, Admit(max_gain=1, min_gain=1, max_jump=1, max_lipschitz=0, max_negative_mass=0)) is None
    assert refusal(relu, Admit(max_jump=0.99)).reason == "max_jump"
    assert refusal(surrogate("leakyrelu").tape, Admit(vanishing_tails="negative")).status is Status.REFUTED


def test_an_inadmissible_function_gives_the_verdict_of_admission():
    assert refusal(tape_of("x"), Admit(max_gain=2)).reason == "unbounded tail"
    assert refusal(tape_of(BSILU), Admit(max_abs=1)).reason == "too large"


def test_faults_name_each_wrong_rule():
    assert Admit().faults() == []
    wrong = Admit(max_abs=0, max_gain=-1, min_gain=float("nan"), max_sign_changes=1.5, vanishing_tails="left")
    text = " ".join(wrong.faults())
    for name in ("max_abs", "max_gain", "min_gain", "max_sign_changes", "vanishing_tails"):
        assert name in text
    assert Admit(min_gain=2, max_gain=1).faults() == ["min_gain must not exceed max_gain, got 2 and 1"]
    assert Admit(max_gain="2").faults() and Admit(max_gain=True).faults() and Admit(max_abs=None).faults()


def test_numbers_beyond_every_float_are_faults():
    wrong = Admit(max_abs=10**400, min_gain=10**5000, max_gain=math.inf, max_jump=-(10**400), max_lipschitz=math.nan)
    assert len(wrong.faults()) == 5 and max(map(len, wrong.faults())) < 90
    assert "max_abs must be a number of 0 or more, got one beyond 1.8e308" in wrong.faults()


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("sigmoid(x)", 1),
        ("tanh(x)", 1),
        ("erf(-x)", 1),
        ("x/sqrt(1 + x**2)", 1),
        ("x/(1 + abs(x))", 1),
        ("2/(1 + x**2)", 2),
        ("10*exp(-x**2)", 10),
        ("1 - exp(-x**2)", 1),
        ("atan(x)*2/pi", 1),
        ("3*min(1, max(0, x + 0.5))", 3),
    ],
)
def test_a_bound_that_g_reaches_is_proven(text, limit):
    assert admission(tape_of(text), limit).proven
    assert admission(tape_of(text), 0.999 * limit).status is Status.REFUTED


def test_a_bound_by_its_form_still_needs_g_to_be_defined():
    assert admission(tape_of("sigmoid(1/x)"), 1).status is Status.REFUTED
    assert not admission(tape_of("tanh(sqrt(x))"), 1).proven
    assert admission(tape_of("2*x/(1 + x**2)"), 1).proven
    touching = tape_of("2*(x - 0.1)/(1 + square(x - 0.1))")  # as the docstring of Admit says
    assert admission(touching, 1).status is Status.UNPROVEN and admission(touching, 1 + 1e-9).proven


def test_a_branch_that_may_not_be_taken_is_no_witness():
    verdict = verdict_of("where(exp(x) > exp(1), (exp(x - 1) - 1)/(x - 1)*exp(-x), 1)")  # g(1) = 1, by the condition
    assert verdict.status is not Status.REFUTED
    assert verdict_of("where(exp(x) > exp(1), 1/x, 1/x)").status is Status.REFUTED


def test_rules_are_sharp_near_0():
    relu = surrogate("relu").tape
    assert refusal(relu, Admit(min_negative_mass=1e-10)).status is Status.REFUTED
    assert refusal(relu, Admit(min_negative_mass=1e-40)) is not None
    assert refusal(relu, Admit(max_negative_mass=0)) is None
    assert refusal(tape_of("where(x > 0, 1, 1e-8)"), Admit(max_negative_mass=1e-9)).status is Status.REFUTED
    told = refusal(relu, Admit(max_gain=1 - 5e-10))
    assert told.status is Status.REFUTED and "a gain of [0.99" in told.detail and "0.9999999995" in told.detail


def test_refused_limits_are_told_with_their_numbers():
    assert "tends to 1.0 as x -> +oo" in refusal(surrogate("relu").tape, Admit(vanishing_tails="both")).detail
    tiny = refusal(tape_of("where(x > 0, 1, exp(-10**8))"), Admit(vanishing_tails="negative"))
    assert tiny.status is Status.UNPROVEN and "5e-324" in tiny.detail
