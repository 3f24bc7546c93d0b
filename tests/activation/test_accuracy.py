"""Errors of the emitted code: the reference is right, and wrong code is seen."""

import time

import numpy as np
import pytest
import torch

from sugar_search import catalog
from sugar_search.activation import accuracy
from sugar_search.activation.accuracy import DTYPES, code_errors, inputs, reference
from sugar_search.activation.table.rounding import rounding_bound
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.symbolic.tape import Tape

HARD = [
    "exp(-100*x*x)*(sqrt(1 + x*x) - abs(x))",
    "(exp(-x*x)*1e6 + 1) - exp(-x*x)*999999",
    "(1 - tanh(x)**2)*x",
    "1e5*(sqrt(1 + x*x) - sqrt(1.0000001 + x*x))",
    "where(3*x > 1, 1, x*exp(-x*x))",
    "x**8/(1 + x**8)",
    "normal_pdf(x*x - 1000)*x",
    "(1 + abs(x))**-0.3*log1p(x*x)/(1 + abs(x))",
    "min(1, max(0, 0.5 + x))*erf(x)",
]


@pytest.mark.parametrize("text", [*catalog.names("surrogates"), *HARD])
def test_no_float64_value_is_further_from_the_truth_than_its_bound(text):
    """Also at points where sums cancel, steps overflow or a condition is a close call."""
    tape = Tape.of(parse(text)) if text in HARD else surrogate(text).tape
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(-12, 12, 40), 10 ** rng.uniform(-8, 35, 20), [0.0, 1 / 3, -1.0, 1.0, 0.5]])
    values, bound = rounding_bound(tape, x)
    exact = np.array([float(tape.mpmath(float(v))) for v in x])
    known = np.isfinite(bound)
    assert known.mean() > 0.7
    assert (np.abs(values - exact)[known] <= bound[known] + 1e-16 * np.abs(exact[known])).all()
    scale = np.abs(exact).max()
    assert np.abs(reference(tape, x) - exact).max() <= 1e-11 * scale


def test_errors_of_families_are_those_of_rounding():
    for name in ("bsilu", "nelu", "gelu", "selu", "triangular"):
        found = code_errors(surrogate(name))
        assert list(found) == ["float32", "bfloat16", "float16"]
        assert found["float32"] < 5e-7 and found["bfloat16"] < 4e-3 and found["float16"] < 5e-4


def test_the_worst_error_is_the_one_that_brute_force_finds():
    made = surrogate("sigmoid(x)*(1 + x*(1 - sigmoid(x)))*exp(-x*x)")
    x = inputs(torch.float16)
    x = x[x.abs() < 4][::16]
    got = accuracy.compile_tape(made.tape)(x).double()
    exact = torch.tensor([float(made.tape.mpmath(float(v))) for v in x], dtype=torch.float64)
    worst = float((got - exact).abs().max() / exact.abs().max())
    found = code_errors(made)["float16"]
    assert worst <= found < 1.5 * worst


@pytest.mark.parametrize(
    ("wrong", "least"),
    [
        (lambda x: torch.where(x == 3.25, x * 0, torch.sigmoid(x)), 0.9),  # one float16 value is enough
        (lambda x: torch.where(x > 60000, torch.nan, torch.sigmoid(x)), np.inf),
        (lambda x: torch.sigmoid(x) + 1e-3, 9e-4),
        (lambda x: torch.sigmoid(x.clamp(-2, 2)), 0.1),
    ],
)
def test_wrong_code_is_seen(monkeypatch, wrong, least):
    monkeypatch.setattr(accuracy, "compile_tape", lambda tape: wrong)
    found = code_errors(surrogate("sigmoid(x)"))
    assert found["float16"] >= least


def test_a_rounded_jump_is_no_error_but_a_moved_one_is(monkeypatch):
    made = surrogate("where(x > 0.1, 1, x*exp(-x*x))")
    assert max(code_errors(made).values()) < 4e-3
    monkeypatch.setattr(
        accuracy, "compile_tape", lambda tape: lambda x: torch.where(x > 0.11, 1, x * torch.exp(-x * x))
    )
    assert code_errors(made)["float32"] > 0.5


def test_a_reference_without_a_value_is_not_the_fault_of_the_code():
    made = surrogate("(2 + exp(x))*normal_pdf(x)")
    assert np.isnan(float(made.tape.mpmath(1e30)))  # infinity times 0
    assert max(code_errors(made).values()) < 5e-3


def test_types_that_cannot_hold_g_are_named():
    assert accuracy.below(surrogate("1e-9*exp(-x*x)")) == ["float16"]
    assert accuracy.below(surrogate("1e-39*exp(-x*x)")) == ["float32", "bfloat16", "float16"]
    assert accuracy.below(surrogate("bsilu")) == []


def test_cancelling_code_is_measured_against_the_truth():
    found = code_errors(surrogate("exp(-x*x)*(sqrt(1000 + x*x) - sqrt(980 + x*x))"))
    assert found["float32"] > 1e-6  # float32 loses digits here; float64 keeps enough of them


def test_every_half_value_is_tried():
    assert len(inputs(torch.float16)) == 2 * 31 * 1024
    assert len(inputs(torch.bfloat16)) == 2 * 255 * 128
    assert len(inputs(torch.float32)) == 40_002
    assert all(torch.isfinite(inputs(d)).all() for d in DTYPES.values())


def test_it_is_fast():
    made = surrogate("bsilu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would spin on a busy machine
    try:
        code_errors(made)
        start = time.process_time()
        code_errors(made)
        assert time.process_time() - start < 0.3
    finally:
        torch.set_num_threads(threads)
