"""`sites=`: each kind of activation is found, replaced and reported."""

import logging

import pytest
import torch
import torch.nn.functional as F
from default_form import default_form
from spellings import spelled
from torch import nn

from sugar_search.activation.convert import convert, sites
from sugar_search.activation.kinds import KINDS
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import surrogate

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
G = default_form(surrogate("bsilu").tape)(X)


def gradient(function, x=X):
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(torch.ones_like(y))
    return x.grad


CALLS = {
    "relu": lambda self, x: F.relu(x),
    "gelu": lambda self, x: F.gelu(x, approximate="tanh"),
    "silu": lambda self, x: F.silu(x, inplace=True),
    "leakyrelu": lambda self, x: F.leaky_relu_(x, 0.2),
    "relu6": lambda self, x: F.relu6(x),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ("call", "module"))
def test_each_kind(kind, form, caplog):
    title = KINDS[kind].title
    net = spelled(CALLS[kind]) if form == "call" else nn.Sequential(KINDS[kind].module())
    assert [s.kind for s in sites(net, (kind,))] == [title]
    if kind != "relu":
        assert sites(net) == ()
        with pytest.raises(InputError, match=rf"with 1 {title} site.*sites=\('{kind}',\)"):
            convert(net, "bsilu")
    with caplog.at_level(logging.WARNING, logger="sugar_search"):
        convert(net, "bsilu", sites=kind)
        assert caplog.messages == ([f"forward changes from {title} to ReLU at 1 site"] if kind != "relu" else [])
        caplog.clear()
        convert(net, "bsilu", sites=kind)
    assert not caplog.messages
    assert torch.equal(gradient(net), G) and torch.equal(net(X.clone()), X.relu())
    assert [s.kind for s in sites(net, (kind,))] == ["SugarReLU"]


def test_kinds_keep_surrogates_of_their_own(caplog):
    net = nn.Sequential(nn.GELU(), spelled(lambda self, x: F.relu(x) + F.gelu(x)), nn.ReLU())
    with caplog.at_level(logging.INFO, logger="sugar_search"):
        convert(net, "bsilu")
    assert caplog.messages == [
        "converted 2 ReLU sites (1 module, 1 functional call) to B-SiLU(α=1.67)",
        "left alone: 2 GELU sites; give sites=('relu', 'gelu') to convert them too",
    ]
    convert(net, "nelu", alpha=0.5, sites=("gelu",))
    nelu = default_form(surrogate("nelu", alpha=0.5).tape)(X)
    assert torch.equal(gradient(net[0]), nelu) and torch.equal(gradient(net[1]), G + nelu)
    assert torch.equal(gradient(net[2]), G)
    convert(net, "relu", sites=("relu", "gelu"))
    assert torch.equal(gradient(net[1]), 2.0 * (X > 0))


def test_without_injection_a_warning_names_the_activation(caplog):
    net = nn.Sequential(nn.GELU())
    with caplog.at_level(logging.WARNING, logger="sugar_search"):
        convert(net, "silu", sites=("gelu",), sugar=False)
    assert caplog.messages == ["forward changes from GELU to the activation of SiLU(β=1) at 1 site"]
    torch.testing.assert_close(net(X), F.silu(X))


@pytest.mark.parametrize("bad", ("swish", ("relu", "tanh"), ()))
def test_unknown_kinds(bad):
    for call in (lambda: convert(nn.ReLU(), "bsilu", sites=bad), lambda: sites(nn.ReLU(), bad)):
        with pytest.raises(InputError, match="choose from relu, gelu, silu, leakyrelu, relu6"):
            call()


def test_arguments_that_cannot_be_honoured():
    net = convert(spelled(lambda self, x: F.gelu(x, out=torch.empty(2, 3))), "bsilu", sites="gelu")
    with pytest.raises(InputError, match="out"):
        net(X)
