"""What the activation composes with, and that what it does not support raises instead of giving another gradient.

Every check uses points with x < 0 where g(x) is not 0: plain ReLU's gradient would be seen.
"""

import copy
import pickle

import pytest
import torch
from default_form import default_form
from gradients import gradient_from
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jvp, vmap
from torch.utils.checkpoint import checkpoint

from sugar_search.activation.module import SugarReLU
from sugar_search.symbolic.surrogate import surrogate

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
backward = gradient_from(X)
ACTIVATION = SugarReLU("bsilu")
G = default_form(ACTIVATION.surrogate.tape)(X)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()


def compiled(function, fullgraph=True, backend="aot_eager"):
    return torch.compile(function, fullgraph=fullgraph, backend=backend)


def total(x):
    return ACTIVATION(x).sum()


def test_the_points_tell_the_surrogate_from_relu():
    assert (G[X < 0].abs() > 0.01).all()
    assert torch.equal(backward(ACTIVATION), G)


def test_compile_fullgraph_with_inductor():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), SugarReLU("bsilu"), nn.Conv2d(3, 2, 1), SugarReLU("nelu"))
    x = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad(net(x).square().sum(), list(net.parameters()))
    got = torch.autograd.grad(compiled(net, backend="inductor")(x).square().sum(), list(net.parameters()))
    for a, b in zip(got, wanted):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ("eager", "aot_eager"))
def test_one_compiled_graph_keeps_surrogates_apart(backend):
    other = SugarReLU("nelu", alpha=0.5)
    run = compiled(lambda module, x: module(x), backend=backend)
    for module in (ACTIVATION, other, ACTIVATION):
        wanted = default_form(module.surrogate.tape)(X)
        torch.testing.assert_close(backward(lambda x, module=module: run(module, x)), wanted)
    both = compiled(lambda x: ACTIVATION(x) + 3 * other(-x), backend=backend)
    torch.testing.assert_close(backward(both), G - 3 * default_form(other.surrogate.tape)(-X))


def test_replacing_a_module_after_compiling_takes_effect():
    net = nn.Sequential(nn.ReLU())
    run = compiled(net)
    assert torch.equal(backward(run), (X > 0).float())
    net[0] = ACTIVATION
    torch.testing.assert_close(backward(run), G)


TRANSFORMS = {
    "grad": grad(total),
    "vmap(grad)": vmap(grad(total)),
    "grad(vmap)": grad(lambda x: vmap(ACTIVATION)(x).sum()),
    "vjp": lambda x: torch.func.vjp(ACTIVATION, x)[1](torch.ones_like(x))[0],
    "backward(vmap)": lambda x: backward(vmap(ACTIVATION), x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_function_transforms(name):
    torch.testing.assert_close(TRANSFORMS[name](X), G)


@pytest.mark.parametrize("backend", ("eager", "aot_eager"))
@pytest.mark.parametrize("name", [name for name in TRANSFORMS if "backward" not in name])
def test_compiling_a_transform_raises_or_is_right(name, backend):
    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(TRANSFORMS[name], backend=backend)(X)
    if backend == "aot_eager":
        torch.testing.assert_close(compiled(TRANSFORMS[name], fullgraph=False)(X), G)


@pytest.mark.parametrize("backend", ("eager", "aot_eager"))
def test_transforming_a_compiled_function_raises_or_is_right(backend):
    with pytest.raises(torch._dynamo.exc.Unsupported):
        vmap(grad(compiled(total, backend=backend)))(X)
    if backend == "aot_eager":
        torch.testing.assert_close(vmap(grad(compiled(total, fullgraph=False)))(X), G)


def test_per_sample_gradients_of_a_network():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), SugarReLU("bsilu"), nn.Linear(4, 1))
    weights = {name: value.detach() for name, value in net.named_parameters()}
    each = vmap(grad(lambda w, x: functional_call(net, w, (x,)).sum()), in_dims=(None, 0))(weights, X)
    for row in range(len(X)):
        one = torch.autograd.grad(net(X[row : row + 1]).sum(), list(net.parameters()))
        for (_, batch), wanted in zip(each.items(), one):
            torch.testing.assert_close(batch[row], wanted)


def second(x):
    (first,) = torch.autograd.grad(ACTIVATION(x).square().sum(), x, create_graph=True)
    return torch.autograd.grad(first.sum(), x)


def forward_mode(x):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(ACTIVATION(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


UNSUPPORTED = {
    "double backward": lambda: second(X.clone().requires_grad_()),
    "grad(grad)": lambda: grad(lambda x: grad(total)(x).sum())(X),
    "hessian": lambda: hessian(total)(X),
    "jvp": lambda: jvp(ACTIVATION, (X,), (X,)),
    "forward mode": lambda: forward_mode(X),
    "compiled double backward": lambda: compiled(second, fullgraph=False)(X.clone().requires_grad_()),
    "compiled grad(grad)": lambda: compiled(grad(lambda x: grad(total)(x).sum()), fullgraph=False)(X),
    "compiled jvp": lambda: compiled(lambda x: jvp(ACTIVATION, (x,), (x,))[1], fullgraph=False)(X),
    "compiled forward mode": lambda: compiled(forward_mode, fullgraph=False)(X),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_derivatives_raise(name):
    with pytest.raises((RuntimeError, NotImplementedError)):
        UNSUPPORTED[name]()


def test_second_derivatives_say_why():
    with pytest.raises(RuntimeError, match="second derivatives"):
        UNSUPPORTED["double backward"]()


@pytest.mark.parametrize("reentrant", (False, True))
def test_checkpointing(reentrant):
    assert torch.equal(backward(lambda x: checkpoint(ACTIVATION, x, use_reentrant=reentrant)), G)


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_autocast_keeps_types(dtype):
    linear = nn.Linear(3, 3)
    with torch.autocast("cpu", dtype=dtype):
        hidden = linear(X)
        hidden.retain_grad()
        y = ACTIVATION(hidden)
        assert y.dtype == dtype
        y.backward(torch.ones_like(y))
    assert hidden.grad.dtype == dtype and linear.weight.grad.dtype == torch.float32
    assert torch.equal(hidden.grad, default_form(ACTIVATION.surrogate.tape)(hidden.detach()))


def test_memory_format_is_kept():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    y = ACTIVATION(x)
    y.sum().backward()
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_views_empty_and_scalar_tensors():
    x = X.clone().requires_grad_()
    ACTIVATION(x.t()[::2]).sum().backward()
    assert torch.equal(x.grad, G * torch.tensor([1.0, 0.0, 1.0]))
    assert backward(ACTIVATION, torch.empty(0, 3)).shape == (0, 3)
    assert torch.equal(backward(ACTIVATION, torch.tensor(-1.0)), G[0, 1])


@pytest.mark.parametrize("clone", (copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))))
def test_copies_keep_the_gradient(clone):
    twin = clone(SugarReLU("nelu", alpha=0.3, region="all"))
    assert twin.surrogate == surrogate("nelu", alpha=0.3)
    assert torch.equal(backward(twin), default_form(twin.surrogate.tape)(X))


def test_export_for_inference_is_plain_relu():
    program = torch.export.export(nn.Sequential(ACTIVATION).eval(), (X,))
    assert [n.target for n in program.graph.nodes if n.op == "call_function"] == [torch.ops.aten.relu.default]
    ACTIVATION.train()


@pytest.mark.parametrize("strict", (False, True))
@pytest.mark.parametrize("inplace", (False, True))
def test_export_for_training_keeps_the_surrogate(strict, inplace):
    net = nn.Sequential(nn.Identity(), SugarReLU("bsilu", inplace=inplace))
    program = torch.export.export(net, (X,), strict=strict).module()
    x = torch.cat([X[:1], torch.tensor([[-0.5, 1e30, -1e30]])])
    assert torch.equal(program(x.clone()), torch.relu(x))
    torch.testing.assert_close(backward(lambda x: program(x * 1), X), G)


@pytest.mark.parametrize("strict", (False, True))
def test_export_for_training_without_injection(strict):
    net = nn.Sequential(nn.Linear(3, 3), SugarReLU("elu", sugar=False))
    program = torch.export.export(net, (X,), strict=strict).module()
    program(X).square().sum().backward()
    wanted = torch.autograd.grad(net(X).square().sum(), list(net.parameters()))
    for parameter, expected in zip(program.parameters(), wanted):
        torch.testing.assert_close(parameter.grad, expected)
