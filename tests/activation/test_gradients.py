"""The forward is ReLU bit for bit and the gradient is the surrogate's, for every family and floating type."""

from functools import cache

import numpy as np
import pytest
import torch

from sugar_search import catalog
from sugar_search.activation.exact import compile_tape
from sugar_search.activation.module import SugarReLU
from sugar_search.symbolic.surrogate import surrogate

FAMILIES = catalog.names("surrogates")
FORMULAS = (
    "bsilu(alpha=0.4)",
    "where(x > 0, 1, x/(1 + x**2)**2)",
    "x**2/(1 + x**2)",
    "max(min(1 + x, 1), 0) + 0.1*normal_cdf(3*x)",
    "2.5",
)
HALF = (torch.float16, torch.bfloat16)
# Over max |g|. Rounding the result to a half type costs up to half a unit in its last place.
BOUNDS = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}


def every(dtype):
    """All 65,536 values of a half type, NaNs included."""
    return torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)


def gradient(activation, x):
    x = x.detach().clone().requires_grad_()
    activation(x).backward(torch.ones_like(x))
    assert x.grad.dtype == x.dtype
    return x.grad


def points(dtype):
    """A dense set: 0, log-spaced to the type's ends, and linear around 0; exactly the numbers the type holds."""
    top = min(float(torch.finfo(dtype).max), 1e30)
    positive = np.concatenate([np.logspace(-8, np.log10(top), 60), np.linspace(0.05, 9, 60)])
    x = torch.tensor(np.concatenate([-positive, [0.0], positive]), dtype=torch.float64).to(dtype)
    return x[torch.isfinite(x)].unique()


@cache
def exact(text, dtype):
    """Values of the derivative at `points(dtype)`, from 50 digits."""
    tape = surrogate(text).tape
    return torch.tensor([float(tape.mpmath(float(v), 50)) for v in points(dtype)], dtype=torch.float64)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("name", FAMILIES)
def test_forward_is_relu_bit_for_bit_and_no_gradient_is_nan(name, dtype):
    x = every(dtype)
    x = x[~torch.isnan(x)]
    assert len(x) > 63_000 and torch.isinf(x).sum() == 2
    activation = SugarReLU(name)
    assert torch.equal(activation(x).view(torch.int16), torch.relu(x).view(torch.int16))
    assert not torch.isnan(gradient(activation, x)).any()


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
@pytest.mark.parametrize("text", FAMILIES + FORMULAS)
def test_wide_types_have_no_nan_up_to_infinity(text, dtype):
    info = torch.finfo(dtype)
    ends = [0.0, info.smallest_normal, info.tiny / 4, 1e4, 1e19, 1e38, info.max, float("inf")]
    x = torch.tensor([s * v for v in ends for s in (1, -1)], dtype=dtype)
    activation = SugarReLU(text)
    bits = torch.int32 if dtype == torch.float32 else torch.int64
    assert torch.equal(activation(x).view(bits), torch.relu(x).view(bits))
    assert torch.isfinite(gradient(activation, x)).all()


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("text", FAMILIES + FORMULAS)
@pytest.mark.parametrize("method", ("auto", "exact"))
def test_gradient_equals_50_digit_values(method, text, dtype):
    x, wanted = points(dtype), exact(text, dtype)
    got = gradient(SugarReLU(text, method=method), x).double()
    slack = float(torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps)
    assert (got - wanted).abs().max() <= BOUNDS[dtype] * wanted.abs().max() + slack
    if dtype in HALF and method == "exact":
        # Computed in float32 and rounded once: at most one unit in the last place from the rounded truth, and
        # nearly always equal to it.
        assert (got == wanted.to(dtype).double()).double().mean() > 0.97


@pytest.mark.parametrize("text", (*FAMILIES, *FORMULAS))
def test_nan_in_nan_out(text):
    x = torch.tensor([float("nan"), 1.0])
    assert torch.isnan(SugarReLU(text)(x)).tolist() == [True, False]
    assert torch.isnan(gradient(SugarReLU(text), x)).tolist() == [True, False]


def test_gradient_at_zero_is_the_families_own():
    zeros = torch.tensor([0.0, -0.0])
    for name in FAMILIES:
        assert gradient(SugarReLU(name), zeros).tolist() == pytest.approx([surrogate(name).value_at_zero] * 2, abs=1e-6)


def test_infinity_gives_the_limit():
    infinite = torch.tensor([float("-inf"), float("inf")])
    assert gradient(SugarReLU("bsilu"), infinite).tolist() == [0.0, 1.0]
    # inf**2/(1 + inf**2) would be NaN.
    assert gradient(SugarReLU("x**2/(1 + x**2)"), infinite).tolist() == [1.0, 1.0]


def test_incoming_gradient_is_multiplied():
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    SugarReLU("bsilu")(x).backward(torch.tensor([3.0, -0.5]))
    assert torch.equal(x.grad, torch.tensor([3.0, -0.5]) * gradient(SugarReLU("bsilu"), x))


def test_negative_region_keeps_one_above_zero():
    x = torch.linspace(-3, 3, 13)
    inside = gradient(SugarReLU("bsilu", region="negative"), x)
    everywhere = gradient(SugarReLU("bsilu"), x)
    assert torch.equal(inside[x > 0], torch.ones(6)) and not torch.equal(inside, everywhere)
    torch.testing.assert_close(inside[x <= 0], everywhere[x <= 0], rtol=0, atol=1e-6)


def test_equal_tapes_share_one_compiled_function():
    assert compile_tape(surrogate("bsilu").tape) is compile_tape(surrogate("B-SiLU").tape)
