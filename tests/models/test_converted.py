"""The paper's networks after a conversion: forward, gradients at every site, layouts, types, torch.compile."""

import pytest
import torch
from nets import CLASSES, SMALL, converted, plain, sites
from torch import nn

from sugar_search.models._model import build_model, find_arch

NETS = [(arch, shape) for arch, shape, _ in SMALL if arch != "conv2next"]  # its tiny variant has the same parts


def batch(shape, size=4):
    return torch.randn(size, *shape, generator=torch.Generator().manual_seed(3))


def run(model, inputs, seed=1):
    """Outputs of a training pass and all gradients in one vector; drops the same blocks whenever it is called."""
    torch.manual_seed(seed)
    outputs = model(inputs)
    loss = nn.functional.cross_entropy(outputs.float(), torch.arange(len(inputs)) % 5)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return outputs.detach(), torch.cat([gradient.flatten() for gradient in gradients])


def watch(model):
    """Makes each site keep its input and output, with their gradients."""
    seen = []

    def keep(module, inputs, output):
        inputs[0].retain_grad()
        output.retain_grad()
        seen.append((module, inputs[0], output))

    return seen, [site.register_forward_hook(keep) for site in sites(model)]


@pytest.mark.parametrize(("arch", "shape"), NETS)
def test_every_site_lets_gradients_of_negative_inputs_through(arch, shape):
    model = converted(arch, shape)
    seen, hooks = watch(model)
    torch.manual_seed(1)
    model(batch(shape)).square().sum().backward()
    for hook in hooks:
        hook.remove()
    assert len(seen) == len(sites(model))
    for module, x, y in seen:
        leaf = x.detach().clone().requires_grad_()
        (g,) = torch.autograd.grad(module(leaf), leaf, torch.ones_like(leaf))
        assert torch.equal(y.detach(), x.detach().relu())
        torch.testing.assert_close(x.grad, y.grad * g, rtol=1e-5, atol=0)
        passed = (x.detach() < 0) & (x.grad != 0)
        assert passed.any(), "no gradient passes below zero"


@pytest.mark.parametrize(("arch", "shape"), NETS)
def test_a_conversion_changes_nothing_but_the_activation(arch, shape):
    reference = plain(arch, shape)
    swapped = CLASSES[find_arch(arch).sites[0]]
    for module in list(reference.modules()):
        for name, child in module.named_children():
            if isinstance(child, swapped):
                setattr(module, name, nn.ReLU())
    model = converted(arch, shape)
    inputs = batch(shape)
    assert model.state_dict().keys() == reference.state_dict().keys()
    expected, wanted = run(reference, inputs)
    outputs, gradients = run(model, inputs)
    assert torch.equal(outputs, expected)
    assert not torch.allclose(gradients, wanted)
    outputs, gradients = run(converted(arch, shape, surrogate="relu"), inputs)
    assert torch.equal(outputs, expected)
    assert torch.equal(gradients, wanted)


@pytest.mark.parametrize(("arch", "shape"), NETS)
def test_channels_last_gives_the_same_result(arch, shape):
    model, inputs = converted(arch, shape), batch(shape)
    expected, wanted = run(model, inputs)
    model = converted(arch, shape).to(memory_format=torch.channels_last)
    outputs, gradients = run(model, inputs.to(memory_format=torch.channels_last))
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-4)
    assert (gradients - wanted).norm() < 1e-3 * wanted.norm()


def test_conv2next_keeps_channels_last_through_all_its_layers():
    model = converted("conv2next/tiny", (3, 8, 8)).to(memory_format=torch.channels_last).eval()
    maps = []
    for name, module in model.named_children():
        module.register_forward_hook(lambda module, inputs, output, name=name: maps.append((name, output)))
    with torch.no_grad():
        model(batch((3, 8, 8)).to(memory_format=torch.channels_last))
    layouts = {name: x.is_contiguous(memory_format=torch.channels_last) for name, x in maps if x.ndim == 4}
    assert len(layouts) > 20 and all(layouts.values()), layouts


@pytest.mark.parametrize(("arch", "shape"), NETS)
def test_bfloat16_autocast_stays_close_and_finite(arch, shape):
    model, inputs = converted(arch, shape), batch(shape)
    expected, _ = run(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, gradients = run(converted(arch, shape), inputs)
    assert outputs.dtype == torch.bfloat16
    assert (outputs.float() - expected).norm() < 0.1 * expected.norm()
    assert gradients.dtype == torch.float32 and gradients.isfinite().all()


def compare_compiled(arch, shape, backend, training=False):
    torch.compiler.reset()
    inputs = batch(shape)
    expected, wanted = run(converted(arch, shape).train(training), inputs)
    compiled = torch.compile(converted(arch, shape).train(training), fullgraph=True, backend=backend)
    outputs, gradients = run(compiled, inputs)
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-4)
    # Plain ReLU's gradients are far off: the surrogate has been traced.
    relu = run(converted(arch, shape, surrogate="relu").train(training), inputs)[1]
    assert (gradients - wanted).norm() < 1e-2 * (relu - wanted).norm()


# The slower backend takes half a minute for Swin-T: the long tests run it on all networks. The fast one draws the
# same random numbers as the plain network, so stochastic depth is compared too.
@pytest.mark.parametrize(
    ("arch", "shape", "backend"),
    [(*net, "aot_eager" if net[0] in ("resnet18", "vgg16") else "eager") for net in NETS],
)
def test_a_converted_network_compiles_into_one_graph(arch, shape, backend):
    compare_compiled(arch, shape, backend, training=backend == "eager")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize(("arch", "shape"), NETS)
def test_a_converted_network_compiles_with_other_backends(arch, shape, backend):
    compare_compiled(arch, shape, backend)


@pytest.mark.long
def test_conv2next_with_stochastic_depth_compiles_into_one_graph():
    torch.compiler.reset()
    model = build_model("conv2next/tiny", (3, 8, 8), 5, drop_path=0.3)
    inputs = batch((3, 8, 8))
    expected, _ = run(model, inputs)
    outputs, _ = run(torch.compile(model, fullgraph=True, backend="eager"), inputs)
    torch.testing.assert_close(outputs, expected)
