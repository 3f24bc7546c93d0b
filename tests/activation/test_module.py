"""Options of `SugarReLU`, the paper's literal forms, and the variant without injection."""

import pytest
import torch
from torch import nn

from sugar_search import catalog
from sugar_search.activation.exact import compile_tape, evaluate
from sugar_search.activation.fgi import fgi_direct, fgi_indirect
from sugar_search.activation.module import SugarReLU
from sugar_search.errors import InputError, SugarError
from sugar_search.symbolic.surrogate import surrogate

X = torch.linspace(-6, 6, 241, dtype=torch.float64)
FAMILIES = catalog.names("surrogates")
WITH_ACTIVATION = [name for name in FAMILIES if surrogate(name).activation_tape is not None]


def gradient(function, x=X):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_direct_injection_has_the_exact_gradient(name):
    made = surrogate(name)
    torch.testing.assert_close(fgi_direct(X, made), torch.relu(X), rtol=0, atol=1e-12)
    assert torch.equal(gradient(lambda x: fgi_direct(x, made)), gradient(SugarReLU(made)))
    assert torch.equal(gradient(SugarReLU(made, method="direct")), gradient(SugarReLU(made)))


@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_indirect_injection_has_the_exact_gradient(name):
    made = surrogate(name)
    # At a kink autograd may take either side; everywhere else it must agree.
    smooth = X[~torch.isclose(X.abs() % 1, torch.zeros(1, dtype=X.dtype), atol=1e-9)]
    torch.testing.assert_close(fgi_indirect(X, made), torch.relu(X), rtol=0, atol=1e-12)
    wanted = gradient(SugarReLU(made), smooth)
    torch.testing.assert_close(gradient(lambda x: fgi_indirect(x, made), smooth), wanted, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient(SugarReLU(made, method="indirect"), smooth), wanted, rtol=1e-9, atol=1e-12)


def test_the_literal_forms_have_the_flaws_that_the_default_lacks():
    infinite = torch.tensor([float("inf")])
    assert torch.isnan(SugarReLU("bsilu", method="direct")(infinite)).all()
    assert torch.isinf(SugarReLU("bsilu")(infinite)).all()


@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_without_injection_the_activation_runs_forward_and_its_derivative_backward(name):
    plain = SugarReLU(name, sugar=False)
    assert torch.equal(plain(X), evaluate(plain.surrogate.activation_tape, X))
    assert torch.equal(gradient(plain), compile_tape(plain.surrogate.tape)(X))


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("relu", nn.ReLU()),
        ("leakyrelu", nn.LeakyReLU(0.01)),
        ("elu", nn.ELU()),
        ("selu", nn.SELU()),
        ("celu", nn.CELU()),
        ("gelu", nn.GELU()),
        ("silu", nn.SiLU()),
        ("mish", nn.Mish()),
        ("softplus", nn.Softplus(threshold=1e9)),
        ("hardswish", nn.Hardswish()),
    ],
)
def test_without_injection_it_is_torchs_own_activation(name, peer):
    plain, x = SugarReLU(name, sugar=False), X[X.abs() != 3]
    torch.testing.assert_close(plain(x), peer(x), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient(plain, x), gradient(peer, x), rtol=1e-9, atol=1e-12)


def test_it_has_no_state_and_shows_its_surrogate():
    activation = SugarReLU("bsilu", alpha=1.2)
    assert not activation.state_dict() and not list(activation.parameters())
    assert repr(activation) == "SugarReLU(B-SiLU(α=1.2))"
    assert repr(SugarReLU("elu", sugar=False)) == "SugarReLU(ELU(α=1), sugar=False)"
    assert "method='direct'" in repr(SugarReLU("bsilu", method="direct"))
    assert activation.surrogate == surrogate("bsilu", alpha=1.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"surrogate": "exp(-x**2)", "sugar": False}, "activation"),
        ({"surrogate": "exp(-x**2)", "method": "indirect"}, "activation"),
        ({"surrogate": "bsilu", "method": "eq4"}, "exact, indirect, direct"),
        ({"surrogate": "bsilu", "method": "direct", "sugar": False}, "sugar=True"),
        ({"surrogate": "bsilu", "region": "left"}, "region"),
        ({"surrogate": surrogate("bsilu"), "alpha": 1.2}, "parameter"),
        ({"surrogate": "bsilu", "alpha": float("nan")}, "alpha"),
        ({"surrogate": "bsilu", "beta": 1.0}, "beta"),
    ],
)
def test_bad_arguments_name_the_rule(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        SugarReLU(**arguments)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_shows_the_nearest():
    with pytest.raises(SugarError, match="bsilu"):
        SugarReLU("bsillu")
