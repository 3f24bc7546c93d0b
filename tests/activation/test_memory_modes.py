"""What each memory mode keeps, and that all of them compose: some x < 0 receives its g(x) everywhere."""

import copy
import pickle

import pytest
import torch
from default_form import default_form
from gradients import gradient_from
from recompute_sites import storages
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from sugar_search.activation.convert import convert
from sugar_search.activation.module import SugarReLU
from sugar_search.activation.recompute import source_of
from sugar_search.activation.table.cache import ranged_table_of
from sugar_search.errors import InputError

X = torch.linspace(-6, 6, 4 * 97).reshape(4, 97)
backward = gradient_from(X)
MODES = ("exact", "bits8", "bits4", "recompute")
CODED = ("bits8", "bits4")
BITS = {"bits8": 8, "bits4": 4}


def gradient(activation, wrap=lambda f: f, x=X):
    """The gradient at the activation's input, and that input: with "recompute" the output of a batch norm."""
    at = leaf = x.clone().requires_grad_()
    if activation.memory == "recompute":
        at = nn.BatchNorm1d(x.shape[1], dtype=x.dtype)(leaf)
        at.retain_grad()
        assert source_of(at) is not None
    y = wrap(activation)(at)
    y.backward(torch.ones_like(y))
    return at.grad, at.detach()


def step_of(activation):
    table = ranged_table_of(activation.surrogate.tape)
    low, high = table.words[4:6].view("float32")
    return float(high - low) / (2 ** BITS.get(activation.memory, 32) - 1)


def check(activation, got, x=X, slack=0.0):
    """Within one step of the code of g(x)."""
    wanted = default_form(activation.surrogate.tape)(x).float()
    assert (got.float() - wanted).abs().max() <= step_of(activation) * (1 + 1e-5) + 1e-6 + slack


@pytest.fixture(params=MODES)
def activation(request):
    return SugarReLU("bsilu", memory=request.param)


@pytest.mark.parametrize("backend", ("aot_eager", "inductor"))
def test_compiled_without_a_graph_break(activation, backend):
    torch._dynamo.reset()
    check(activation, *gradient(activation, lambda f: torch.compile(f, fullgraph=True, backend=backend)))


@pytest.mark.parametrize("reentrant", (False, True))
def test_a_checkpoint_gives_the_bits_of_a_run_without(activation, reentrant):
    torch.manual_seed(3)
    plain, at = gradient(activation)
    torch.manual_seed(3)
    again, _ = gradient(activation, lambda f: lambda x: checkpoint(f, x, use_reentrant=reentrant))
    assert torch.equal(again, plain)
    check(activation, again, at)


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16, torch.float32, torch.float64))
def test_floating_types(activation, dtype):
    got, at = gradient(activation, x=X.to(dtype))
    assert got.dtype == dtype
    check(activation, got, at, slack=2 * float(torch.finfo(dtype).eps))


def test_autocast(activation):
    linear, norm = nn.Linear(97, 97), nn.BatchNorm1d(97)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = norm(linear(X)) if activation.memory == "recompute" else linear(X)
        hidden.retain_grad()
        y = activation(hidden)
        y.backward(torch.ones_like(y))
    assert hidden.grad.dtype == hidden.dtype == torch.bfloat16
    check(activation, hidden.grad, hidden.detach(), slack=2**-7)


def test_function_transforms_are_exact(activation):
    wanted = default_form(activation.surrogate.tape)(X)
    torch.testing.assert_close(vmap(grad(lambda x: activation(x).sum()))(X), wanted)
    net = nn.Sequential(nn.Linear(97, 5), activation, nn.Linear(5, 1))
    weights = {name: value.detach() for name, value in net.named_parameters()}
    each = vmap(grad(lambda w, x: functional_call(net, w, (x,)).sum()), in_dims=(None, 0))(weights, X)
    exact = nn.Sequential(net[0], SugarReLU("bsilu"), net[2])
    for row in range(len(X)):
        one = torch.autograd.grad(exact(X[row : row + 1]).sum(), list(exact.parameters()))
        for got, expected in zip(each.values(), one):
            torch.testing.assert_close(got[row], expected)


@pytest.mark.parametrize("clone", (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))))
def test_copies(activation, clone):
    twin = clone(activation)
    assert twin.memory == activation.memory and not activation.state_dict()
    check(activation, *gradient(twin))


def test_in_place_writes_x_and_keeps_the_gradient(activation):
    twin, norm = activation.like(inplace=True), nn.BatchNorm1d(97)

    def function(x):
        x = norm(x)
        y = twin(x)
        assert y is x and torch.equal(y, torch.relu(norm(leaf)))
        return y

    leaf = X.clone()
    torch.manual_seed(3)
    got = backward(function, leaf)
    torch.manual_seed(3)
    assert torch.equal(got, backward(lambda x: activation(norm(x)), leaf))
    x = X.clone()
    assert torch.equal(twin(x), torch.relu(X)) and torch.equal(x, torch.relu(X))


def test_layouts(activation):
    image = X.reshape(4, 97, 1, 1).expand(4, 97, 3, 5).contiguous(memory_format=torch.channels_last)
    for x in (image, X.t(), X[:, ::3], X[:0], X[0, 0]):
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        view = leaf.view_as(leaf)
        backwards = tuple(range(x.dim()))[::-1]
        for upstream in (torch.ones(x.shape), torch.ones(x.shape[::-1]).permute(backwards)):
            leaf.grad = None
            activation(view).backward(upstream, retain_graph=True)
            if x.numel():
                check(activation, leaf.grad, leaf.detach())


@pytest.mark.parametrize("memory", CODED)
def test_codes_keep_the_mean(memory):
    """Over 10,000 draws the mean gradient lies within 4 standard errors of g, at every point."""
    points = torch.tensor([-20.0, -4.0, -3.1, -1.3, -0.5, -0.01, 0.0, 0.2, 0.77, 1.5, 3.0, 40.0])
    activation = SugarReLU("bsilu", memory=memory)
    torch.manual_seed(5)
    draws = torch.stack([backward(activation, points) for _ in range(10_000)]).double()
    wanted = default_form(activation.surrogate.tape)(points).double()
    error = (draws.mean(dim=0) - wanted).abs()
    # The spread that rounding must have: a rare code may be missing from the draws, whose own spread is then 0.
    low = float(ranged_table_of(activation.surrogate.tape).words[4:5].view("float32")[0])
    up = ((wanted - low) / step_of(activation)).remainder(1)
    assert (error <= 4 * step_of(activation) * (up * (1 - up)).sqrt() / 100 + 2e-6).all()
    # Neighbours draw apart, and so do two passes.
    assert draws.std(dim=0).max() > 0.2 * step_of(activation)
    assert len({tuple(row.tolist()) for row in draws[:50]}) > (10 if memory == "bits4" else 40)


@pytest.mark.parametrize("memory", CODED)
def test_codes_come_from_torchs_generator(memory):
    activation = SugarReLU("bsilu", memory=memory)
    torch.manual_seed(1)
    first = backward(activation)
    torch.manual_seed(1)
    assert torch.equal(backward(activation), first)
    assert not torch.equal(backward(activation), first)


@pytest.mark.parametrize("memory", CODED)
def test_relu_itself_is_coded_without_loss(memory):
    assert torch.equal(backward(SugarReLU("relu", memory=memory)), (X > 0).float())


@pytest.mark.parametrize("memory", CODED)
def test_a_batch_of_gradients_is_right_or_raises(memory):
    x = X.clone().requires_grad_()
    y = SugarReLU("bsilu", memory=memory)(x)
    one, upstream = torch.ones(3, *X.shape), torch.tensor([1.0, -2.0, 0.5]).reshape(3, 1, 1)
    (each,) = torch.autograd.grad(y, x, one * upstream, is_grads_batched=True, retain_graph=True)
    torch.testing.assert_close(each, upstream * torch.autograd.grad(y, x, one[0], retain_graph=True)[0])
    with pytest.raises(RuntimeError, match="batch of gradients"):
        vmap(lambda v: torch.autograd.grad(y, x, v, retain_graph=True)[0])(one)


def test_second_derivatives_raise(activation):
    x = X.clone().requires_grad_()
    y = activation(nn.BatchNorm1d(97)(x) if activation.memory == "recompute" else x)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.autograd.grad(first.sum(), x)


def test_recompute_is_bit_equal_and_convert_counts_its_sites(caplog):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True))
    x = torch.randn(5, 3, 9, 9)
    gradients, kept = [], []
    for memory in ("exact", "recompute"):
        with caplog.at_level("INFO", "sugar_search"):
            made = convert(copy.deepcopy(net), "bsilu", memory=memory, example=x)
        y = made(x)
        kept.append(len(storages(y, made)))
        y.square().sum().backward()
        gradients.append([p.grad for p in made.parameters()])
    assert all(map(torch.equal, *gradients))
    assert kept[0] - kept[1] == 1
    assert "memory=recompute: 1 of 2 plain sites follow a batch norm" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "bits2"}, "memory must be one of exact, bits8, bits4, recompute"),
        ({"memory": "bits4", "method": "direct"}, "memory other than exact needs a gradient read from a table"),
        ({"memory": "recompute", "sugar": False}, "memory other than exact"),
        ({"surrogate": "where(x > 0, 1, sqrt(sqrt(abs(x)))*exp(x))", "memory": "recompute"}, "a table must hold"),
        ({"method": "lookup"}, "method must be one of auto, table, exact, indirect, direct"),
    ],
)
def test_meaningless_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SugarReLU(**{"surrogate": "bsilu"} | options)
