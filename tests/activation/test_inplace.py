"""In-place activations: the input holds the result afterwards, as with torch's own, and the gradient is right."""

import pytest
import torch
import torch.nn.functional as F
from default_form import default_form
from torch import nn

from sugar_search.activation.convert import convert
from sugar_search.activation.module import SugarReLU
from sugar_search.symbolic.surrogate import surrogate

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
G = default_form(surrogate("bsilu").tape)(X)
OPTIONS = ({}, {"sugar": False}, {"method": "direct"}, {"method": "indirect"})


class Reads(nn.Module):
    """A net that reads the input of an in-place ReLU again."""

    def __init__(self, activation=None):
        super().__init__()
        self.activation = activation or nn.ReLU(inplace=True)

    def forward(self, x):
        h = 2 * x
        y = self.activation(h)
        return y + 10 * h


class ReadsFunctional(nn.Module):
    def forward(self, x):
        h = 2 * x
        F.relu_(h)
        return h + 10 * h.relu_()


def gradient(function, x=X):
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(torch.ones_like(y))
    return x.grad


@pytest.mark.parametrize("net", (Reads, ReadsFunctional))
def test_what_reads_the_input_again_sees_the_result(net):
    module = net()
    before = module(X)
    convert(module, "bsilu")
    assert torch.equal(module(X), before)
    # Both summands are the same tensor; in ReadsFunctional it went through two activations.
    inner = default_form(surrogate("bsilu").tape)
    again = inner(2 * X.relu()) if net is ReadsFunctional else torch.ones_like(X)
    wanted = 22 * again * inner(2 * X)
    torch.testing.assert_close(gradient(module), wanted)
    torch._dynamo.reset()
    torch.testing.assert_close(gradient(torch.compile(module, fullgraph=True, backend="aot_eager")), wanted)
    torch.testing.assert_close(torch.func.grad(lambda x: module(x).sum())(X), wanted)


@pytest.mark.parametrize(
    "call",
    (
        lambda h: F.relu(h, inplace=True),
        lambda h: F.relu(h, True),
        lambda h: torch.relu_(h),
        lambda h: h.relu_(),
        lambda h: nn.ReLU(inplace=True)(h),
    ),
)
def test_every_spelling_writes_its_input(call):
    class Net(nn.Module):
        def forward(self, x):
            h = x * 1
            call(h)
            return h

    net = convert(Net(), "bsilu")
    assert torch.equal(net(X), X.relu()) and torch.equal(gradient(net), G)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_result_is_the_input(options):
    activation = SugarReLU("bsilu", inplace=True, **options)
    plain = SugarReLU("bsilu", **options)
    for x in (X.clone(), X.clone().requires_grad_() * 1):
        y = activation(x)
        assert y is x or y.data_ptr() == x.data_ptr()
        assert torch.equal(x, plain(X))
    torch.testing.assert_close(gradient(lambda x: activation(x * 1)), gradient(plain))


def test_views():
    activation = SugarReLU("bsilu", inplace=True)

    def run(x):
        h = x * 1
        activation(h[:, 1:])
        return h

    wanted = torch.cat([torch.ones(2, 1), G[:, 1:]], 1)
    torch.testing.assert_close(gradient(run), wanted)
    torch._dynamo.reset()
    torch.testing.assert_close(gradient(torch.compile(run, backend="aot_eager")), wanted)


def test_what_torch_refuses_is_refused():
    activation, leaf = SugarReLU("bsilu", inplace=True), X.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):
        activation(leaf)
    with torch.no_grad():
        activation(leaf)
    assert torch.equal(leaf, X.relu())
    saved = (X.clone().requires_grad_() * 1).sigmoid()
    activation(saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.sum().backward()
    with pytest.raises(RuntimeError, match="second derivatives"):
        x = X.clone().requires_grad_()
        (first,) = torch.autograd.grad(activation(x * 1).square().sum(), x, create_graph=True)
        torch.autograd.grad(first.sum(), x)


def test_no_copy_is_kept_where_no_gradient_is_needed():
    with torch.no_grad():
        x = X.clone()
        assert SugarReLU("bsilu", inplace=True)(x) is x


def test_conversion_keeps_each_flag():
    net = nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.GELU())
    convert(net, "bsilu", sites=("relu", "silu", "gelu"))
    convert(net, "nelu", sites=("relu", "silu", "gelu"))
    assert [m.inplace for m in net] == [False, True, True, False]
    assert repr(net[1]).endswith("inplace=True)") and "inplace" not in repr(net[0])


def test_batch_norm_before_and_residuals_after():
    torch.manual_seed(0)

    class Residual(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)
            self.relu = nn.ReLU(inplace=inplace)

        def forward(self, x):
            out = self.norm(self.conv(self.relu(self.norm(self.conv(x)))))
            out += x
            return self.relu(out)

    one, two = Residual(True), Residual(False)
    two.load_state_dict(one.state_dict())
    x = torch.randn(2, 2, 5, 5).to(memory_format=torch.channels_last)
    for net in (one, two):
        convert(net, "bsilu")(x).square().sum().backward()
    for a, b in zip(one.parameters(), two.parameters()):
        assert torch.equal(a.grad, b.grad)
