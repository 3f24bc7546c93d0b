"""The nearest known surrogate: exact members with their parameters, and the closest one else."""

import time

import pytest

from sugar_search import catalog
from sugar_search.symbolic.fingerprint import distance, fingerprint
from sugar_search.symbolic.nearest import nearest
from sugar_search.symbolic.surrogate import surrogate


@pytest.mark.parametrize("name", catalog.names("surrogates"))
def test_a_family_is_its_own_nearest(name):
    found = nearest(surrogate(name))
    assert (found.surrogate.title, found.distance) == (surrogate(name).title, 0.0)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("sigmoid(x)+(x+1.67)*sigmoid(x)*(1-sigmoid(x))", "B-SiLU(α=1.67)"),
        ("exp(x)/(1 + exp(x)) + (x + 0.8137)*exp(x)/(1 + exp(x))**2", "B-SiLU(α=0.8137)"),
        ("where(x > 0, 1, 0.00345*x/(1 + x*x)**2)", "NeLU(α=0.001725)"),
        ("0.5*tanh(0.5*x) + 0.5", "Softplus(β=1)"),
        ("1/(1 + 3.3*abs(x))**2", "FastSigmoid(k=3.3)"),
        ("where(x > 0, 1, sigmoid(2.5*x)*(1 + 2.5*x*(1 - sigmoid(2.5*x))))", "SiLU(β=2.5) for x<=0"),
        ("max(0, 1 - abs(x)/3.7)", "Triangular(w=3.7)"),
    ],
)
def test_members_are_recognised_exactly(text, title):
    found = nearest(surrogate(text))
    assert (found.surrogate.title, found.distance) == (title, 0.0)


def test_a_stranger_gets_the_closest_member_and_its_distance():
    subject = surrogate("0.5 + atan(x)/pi")
    found = nearest(subject)
    assert found.surrogate.name == "softplus"
    assert found.distance == distance(fingerprint(subject.tape), fingerprint(found.surrogate.tape)) > 1e-3
    for beta in (0.8, 0.9, 1.0, 1.2, 1.5):  # no other member of the family is closer
        other = fingerprint(surrogate("softplus", beta=beta).tape)
        assert distance(fingerprint(subject.tape), other) >= found.distance


@pytest.mark.parametrize(
    ("text", "away"),
    [
        ("sigmoid(x) + max(0, 1 - abs(40*(x - 0.7107)))", 0.072),
        ("where(square(x - 0.7107) < 0.0001, 2, 1)", 0.079),
        ("sigmoid(x) + exp(-square(1000*(x - 100.7)))", 0.0),  # so far out that it has no weight
    ],
)
def test_a_narrow_feature_keeps_it_from_being_the_same_function(text, away):
    found = nearest(surrogate(text))
    assert found.distance > 0
    assert found.distance == pytest.approx(away, rel=0.05, abs=1e-12)


def test_it_is_fast():
    nearest(surrogate("gelu"))
    subject = surrogate("tanh(x)*exp(-square(x)) + 0.2")
    start = time.perf_counter()
    nearest(subject)
    assert time.perf_counter() - start < 0.3
