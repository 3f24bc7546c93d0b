"""Building, admitting, comparing and storing surrogates."""

import copy
import json
import pickle
import time

import numpy as np
import pytest

from sugar_search.errors import FormulaError, InputError
from sugar_search.symbolic.probe import PROBE, inadmissible
from sugar_search.symbolic.surrogate import Surrogate, surrogate

BSILU = "sigmoid(x) + (x + a)*sigmoid(x)*(1 - sigmoid(x))"


def test_derivative_activation_and_family_give_one_surrogate():
    from_derivative = surrogate(BSILU, a=1.67)
    from_activation = surrogate(activation="(x + a)*sigmoid(x) - a/2", a=1.67)
    family = surrogate("bsilu", alpha=1.67)
    assert from_derivative == from_activation == family
    assert len({from_derivative, from_activation, family}) == 1
    assert len({s.id for s in (from_derivative, from_activation, family)}) == 1
    assert surrogate("bsilu", alpha=1.2) != family
    assert from_derivative.activation is None
    assert from_activation.activation_text is not None
    assert surrogate(family) is family
    assert from_derivative.value_at_zero == 0.9175


def test_titles():
    assert surrogate("bsilu").title == "B-SiLU(α=1.67)"
    assert surrogate("relu").title == "ReLU"
    assert surrogate("sigmoid(x)*2").title == "2*sigmoid(x)"
    assert surrogate("bsilu", region="negative").title == "B-SiLU(α=1.67) for x<=0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-x*exp(-x)", r"grows without bound as x -> -oo"),
        ("x", r"grows without bound as x -> -oo"),
        ("exp(x)", r"grows without bound as x -> \+oo"),
        ("0.001*exp(x)", r"grows without bound as x -> \+oo"),
        ("softplus(x)", r"grows without bound as x -> \+oo"),
        ("where(x > 0, 1, x)", r"grows without bound as x -> -oo"),
        ("1/x", "is infinite at x = 0"),
        ("1/(x - 0.1234567)", r"exceeds 1000 in size at x = 0\.12"),
        ("1/sqrt(x)", "is not a real number at x = -1"),
        ("sqrt(x + 5)", r"is not a (finite )?real number at x = -5"),
        ("log1p(x)", r"is not a real number at x = -1"),
        ("1e4*exp(-x**2)", "exceeds 1000 in size at x = 0"),
        ("1/(exp(x) - exp(x + 1e-9) + 1e-9)", "must be finite and bounded"),
        ("sqrt(1 + x*x) - abs(x)", r"cannot be evaluated in float32 beyond \|x\| = 512"),
        ("x**8/(1 + x**8 + 1e9*x**6)", r"cannot be evaluated in float32 beyond \|x\| = 32768"),
        ("0", "0 everywhere"),
        ("x - x", "0 everywhere"),
        ("where(x > 0, 0, 0)", "0 everywhere"),
    ],
)
def test_inadmissible_derivatives_are_refused_with_the_place(text, reason):
    with pytest.raises(FormulaError, match=reason):
        surrogate(text)


@pytest.mark.parametrize(
    "text",
    [
        "where(x > 0, 1, 0)",
        "1",
        "-sigmoid(x)",
        "x**2*exp(-x**2)",
        "x**8*exp(-x**2)",
        "x**2/(1 + x**2)",
        "999*sigmoid(x)",
    ],
)
def test_admissible(text):
    assert inadmissible(surrogate(text)) is None


def test_the_probe_covers_zero_tiny_dense_and_huge():
    assert 0.0 in PROBE
    assert PROBE.max() == 1e30 == -PROBE.min()
    inner = np.diff(PROBE[np.abs(PROBE) <= 20])
    assert inner.max() <= 1 / 127
    assert (np.abs(PROBE[PROBE != 0]) < 1e-20).sum() >= 10


@pytest.mark.parametrize(
    ("arguments", "values", "message"),
    [
        ((), {}, "must come from one formula"),
        (("x*0 + 1",), {"activation": "x"}, "must come from one formula"),
        ((BSILU,), {}, "column 19: a name must be"),
        ((BSILU,), {"a": float("nan")}, "parameter a must be finite"),
        ((BSILU,), {"a": "abc"}, "parameter a must be a number"),
        ((BSILU,), {"a": True}, "parameter a must be a number"),
        ((BSILU,), {"a": 1e12}, "at most 1,000,000,000"),
        ((BSILU,), {"a": 1.0, "b": 2.0}, "must occur in the formula"),
        (("sigmoid(x)",), {"exp": 1.0}, "must be a new ASCII word"),
        (("sigmoid(x)",), {"region": "positive"}, "region must be all or negative"),
        (("bsilu(alpha=two)",), {}, "parameter alpha must be a number"),
        (("bsilu(alpha=-1)",), {}, "alpha of B-SiLU must be between"),
        ((7,), {}, "must be given as text"),
        ((), {"activation": "exp(exp(a))*x", "a": 9.0}, "at most 1,000,000,000"),
    ],
)
def test_bad_arguments(arguments, values, message):
    with pytest.raises(InputError, match=message) as caught:
        surrogate(*arguments, **values)
    assert "\n" not in str(caught.value)


def test_values_given_to_a_finished_surrogate_are_refused():
    with pytest.raises(InputError, match="when it is built"):
        surrogate(surrogate("bsilu"), alpha=2.0)


def test_a_positional_call_of_a_family_name_is_a_formula():
    assert surrogate("softplus").text == "sigmoid(x)"
    assert surrogate("atan(x)").name == "formula"
    assert surrogate("tanh(x)*(1)").name == "formula"


@pytest.mark.parametrize("region", ["all", "negative"])
def test_store_copy_and_pickle(region):
    for s in (
        surrogate("nelu", alpha=0.05, region=region),
        surrogate(BSILU, a=0.3, region=region),
        surrogate(activation="x*sigmoid(b*x)", b=2.5, region=region),
    ):
        stored = json.loads(json.dumps(s.to_dict()))
        for again in (Surrogate.from_dict(stored), copy.deepcopy(s), pickle.loads(pickle.dumps(s))):
            assert again == s
            assert again.to_dict() == s.to_dict()
            assert again.title == s.title


@pytest.mark.parametrize(
    "change",
    [
        {"formula": "__import__('os')"},
        {"formula": 3},
        {"formula": "1/x", "parameters": {}, "activation": None},
        {"parameters": {"alpha": float("nan")}},
        {"parameters": [1]},
        {"parameters": {"x": 1.0}},
        {"region": "up"},
        {"name": 5},
        {"source": None},
        {"activation": 1},
        {"extra": 1},
    ],
)
def test_stored_rubbish_is_refused(change):
    with pytest.raises(InputError):
        Surrogate.from_dict({**surrogate("bsilu").to_dict(), **change})
    for rubbish in (None, [], "bsilu", {}):
        with pytest.raises(InputError):
            Surrogate.from_dict(rubbish)


def test_a_stored_family_that_no_longer_matches_is_a_formula():
    data = {**surrogate("bsilu").to_dict(), "formula": "sigmoid(alpha*x)", "activation": None}
    again = Surrogate.from_dict(data)
    assert again.name == "formula"
    assert again.title == "sigmoid(1.67*x)"


def test_building_is_fast():
    surrogate("bsilu")
    start = time.perf_counter()
    for k in range(20):
        surrogate("bsilu", alpha=1 + k / 100)
    assert (time.perf_counter() - start) / 20 < 0.02


@pytest.mark.parametrize(
    ("text", "region", "values", "kept"),
    [
        ("sigmoid(x) + 0*a*x", "all", {"a": 2.0}, {}),
        ("a*sigmoid(x) + b - b", "all", {"a": 0.5, "b": 2.0}, {"a": 0.5}),
        (
            "sigmoid(b*x) + max(sigmoid(a*x), 1 - sigmoid(a*x)) - sigmoid(abs(a*x))",
            "all",
            {"a": 2.0, "b": 3.0},
            {"b": 3.0},
        ),
        ("where(x > 0, a, b*exp(x))", "all", {"a": 2.0, "b": 0.5}, {"a": 2.0, "b": 0.5}),
        ("where(x > 0, a, b*exp(x))", "negative", {"a": 2.0, "b": 0.5}, {"b": 0.5}),
    ],
)
def test_parameters_that_do_nothing_are_dropped(text, region, values, kept):
    made = surrogate(text, region=region, **values)
    assert dict(made.parameters) == kept
    assert Surrogate.from_dict(made.to_dict()) == made


def test_an_activation_keeps_its_value_when_a_parameter_is_dropped():
    made = surrogate(activation="(x + a)*sigmoid(x) + c", a=1.67, c=3.0)
    assert dict(made.parameters) == {"a": 1.67}
    assert float(made.activation_tape.mpmath(0)) == pytest.approx(1.67 / 2 + 3)


def test_a_pole_between_the_probes_is_refused():
    with pytest.raises(FormulaError, match="finite and bounded") as caught:
        surrogate("1e-14/(x - 0.30000001)**2")
    assert caught.value.reason in ("pole", "too large")
