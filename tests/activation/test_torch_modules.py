"""Conversion next to torch's own machinery: transformer layers, compiled, exported, scripted and subclassed modules."""

import copy
import logging
import pickle

import pytest
import torch
import torch.nn.functional as F
from default_form import default_form
from spellings import SPELLINGS, Base, Remembers, gradients, network, spelled
from torch import nn

from sugar_search.activation.convert import convert, sites
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import surrogate

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
G = default_form(surrogate("bsilu").tape)(X)


def gradient(function, x=X):
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(torch.ones_like(y))
    return x.grad


@pytest.mark.parametrize("kind", ("relu", "gelu"))
@pytest.mark.parametrize("as_module", (False, True))
def test_torchs_transformer_layer(kind, as_module):
    activation = {"relu": nn.ReLU(), "gelu": nn.GELU()}[kind] if as_module else kind
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation=activation, batch_first=True)
    x = torch.randn(2, 5, 4)
    before = layer(x)
    net = convert(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), "bsilu", sites=kind)
    assert [s.kind for s in sites(net, kind)] == ["SugarReLU"] * 2
    assert layer.state_dict().keys() == net.layers[0].state_dict().keys()
    one = net.layers[0]
    assert torch.equal(one(x), before) == (kind == "relu")
    bare = copy.deepcopy(one)
    bare.linear1 = bare.linear2 = nn.Identity()
    assert torch.equal(gradient(lambda v: bare._ff_block(v), X), G)
    assert bool(one.activation_relu_or_gelu) == (kind == "relu")
    # The fused inference path would compute the old activation.
    train = net(x)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), train)


def test_without_injection_the_fused_path_is_left():
    for activation in (nn.ReLU(), "relu"):
        layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation=activation, batch_first=True)
        x = torch.randn(2, 5, 4)
        convert(layer, "elu", sugar=False)
        train = layer(x)
        with torch.no_grad():
            torch.testing.assert_close(layer.eval()(x), train)


def test_a_compiled_module_may_be_converted():
    torch._dynamo.reset()
    net = torch.compile(network().eval(), backend="aot_eager")
    wanted = gradients(convert(network().eval(), "bsilu"))
    assert len(sites(net)) == 5
    for got, want in zip(gradients(convert(net, "bsilu")), wanted):
        torch.testing.assert_close(got, want)


def test_export_for_inference_is_plain_relu():
    net = convert(SPELLINGS["helper"](), "bsilu")
    program = torch.export.export(net, (X,))
    names = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert "aten.relu.default" in names


def test_a_transformer_layer_compiles_and_copies():
    torch._dynamo.reset()
    layer = convert(nn.TransformerDecoderLayer(4, 2, 8, dropout=0.0, batch_first=True), "bsilu")
    x = torch.randn(2, 5, 4)
    weights = torch.randn(2, 5, 4)
    wanted = gradient(lambda v: layer(v, v) * weights, x)
    for net in (torch.compile(layer, fullgraph=True, backend="aot_eager"), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(gradient(lambda v, net=net: net(v, v) * weights, x), wanted)
    plain = nn.TransformerDecoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    plain.load_state_dict(layer.state_dict())
    assert not torch.allclose(gradient(lambda v: plain(v, v) * weights, x), wanted)


def test_what_cannot_be_converted_is_named(caplog):
    rnn = nn.RNN(3, 3, nonlinearity="relu")
    with pytest.raises(InputError, match=r"ReLU of RNN \(torch's RNN\)"):
        convert(rnn, "bsilu")
    with pytest.raises(InputError, match="TorchScript"):
        convert(torch.jit.trace(nn.Sequential(nn.ReLU()), X), "bsilu")
    with pytest.raises(InputError, match=r"torch\.fx"):
        convert(torch.fx.symbolic_trace(SPELLINGS["F.relu"]()), "bsilu")
    net = nn.ModuleDict({"rnn": rnn, "cell": nn.RNNCell(3, 3, nonlinearity="relu"), "act": nn.ReLU()})
    with caplog.at_level(logging.WARNING, logger="sugar_search"):
        convert(net, "bsilu")
    (message,) = caplog.messages
    assert "rnn (torch's RNN), ReLU of cell (torch's RNNCell)" in message
    caplog.clear()
    convert(nn.Sequential(nn.RNN(3, 3), nn.ReLU()), "bsilu")
    assert not caplog.messages


@torch.jit.script
def scripted(x):
    return torch.relu(x)


def test_a_scripted_helper_is_named(caplog):
    with pytest.raises(InputError, match="inside a TorchScript function"):
        convert(spelled(lambda self, x: scripted(x)), "bsilu")
    with caplog.at_level(logging.WARNING, logger="sugar_search"):
        convert(spelled(lambda self, x: F.relu(scripted(x))), "bsilu")
    assert "not converted: ReLU of Net (inside a TorchScript function)" in caplog.text


def test_a_class_that_cannot_be_subclassed_is_left_alone():
    class Final(type):
        def __new__(cls, name, bases, namespace):
            if name in made:
                raise TypeError(f"{name} is final")
            made.add(name)
            return super().__new__(cls, name, bases, namespace)

    made = set()

    class Strict(Base, metaclass=Final):
        def run(self, x):
            return F.relu(x)

    net = nn.Sequential(nn.ReLU(), Strict())
    with pytest.raises(InputError, match="must allow a subclass"):
        convert(net, "bsilu")
    assert type(net[0]) is nn.ReLU


def test_copies_of_a_kept_method_follow_the_copy():
    net = convert(Remembers(), "bsilu")
    twin = copy.deepcopy(net)
    assert twin.chosen.function.__self__ is twin
    assert torch.equal(gradient(pickle.loads(pickle.dumps(net))), G)


def test_a_converted_module_may_not_be_converted_once_subclassed():
    class Own(nn.Linear):
        def forward(self, x):
            return F.relu(super().forward(x))

    net = convert(Own(3, 3), "bsilu")
    torch.nn.utils.parametrizations.weight_norm(net)
    net(X).sum().backward()
    with pytest.raises(InputError, match="parametrize"):
        convert(net, "nelu")
