"""Architectures: parameter and site counts, initialisation, and what they refuse."""

import math

import pytest
import torch
from torch import nn

from sugar_search import catalog
from sugar_search.errors import InputError, UnknownNameError
from sugar_search.models._model import build_model


def parameters(model):
    return sum(weights.numel() for weights in model.parameters())


@pytest.mark.parametrize(("classes", "expected"), [(10, 11_173_962), (100, 11_220_132)])
def test_resnet18_has_the_published_number_of_parameters(classes, expected):
    assert parameters(build_model("ResNet-18", (3, 32, 32), classes)) == expected


def test_resnet18_runs_each_of_its_17_relu_modules_once_in_a_pass():
    model = build_model("resnet18", (1, 8, 8), 10).eval()
    calls = []
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    for relu in relus:
        relu.register_forward_hook(lambda module, inputs, output: calls.append(id(module)))
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert len(relus) == 17 and sorted(calls) == sorted(map(id, relus))


def test_resnet18_halves_the_map_three_times_and_never_pools_before():
    model = build_model("resnet18", (3, 32, 32), 10).eval()
    shapes = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    assert shapes == [(64, 32, 32)] * 5 + [(128, 16, 16)] * 4 + [(256, 8, 8)] * 4 + [(512, 4, 4)] * 4


@pytest.mark.parametrize("shape", [(64,), (1, 4, 8), (8, 8)])
def test_resnet18_refuses_what_is_no_image_or_too_small(shape):
    with pytest.raises(InputError, match="8x8 pixels"):
        build_model("resnet18", shape, 10)


@pytest.mark.parametrize("arch", catalog.names("archs"))
def test_every_arch_maps_a_batch_of_images_to_its_outputs_and_has_relu_sites(arch):
    model = build_model(arch, (1, 8, 8), 3)
    assert model(torch.randn(4, 1, 8, 8)).shape == (4, 3)
    relus = [name for name, module in model.named_modules(remove_duplicate=False) if isinstance(module, nn.ReLU)]
    assert relus and len(relus) == len({id(model.get_submodule(name)) for name in relus})
    assert catalog.summary("archs", arch)


def test_same_torch_seed_gives_the_same_weights():
    def build(seed):
        torch.manual_seed(seed)
        return torch.cat([weights.flatten() for weights in build_model("mlp", (64,), 10).parameters()])

    assert torch.equal(build(1), build(1)) and not torch.equal(build(1), build(2))


def test_narrow_mlp_is_ten_layers_of_two_units_with_he_normal_weights_and_zero_biases():
    torch.manual_seed(0)
    layers = [[m for m in build_model("narrow_mlp", (1,), 1) if isinstance(m, nn.Linear)] for _ in range(500)]
    assert all(len(net) == 11 for net in layers)
    assert [net.out_features for net in layers[0]] == [2] * 10 + [1]
    assert all((net.bias == 0).all() for nets in layers for net in nets)
    for index, fan_in in enumerate([1] + [2] * 10):
        weights = torch.cat([nets[index].weight.flatten() for nets in layers])
        expected, error = math.sqrt(2 / fan_in), 1 / math.sqrt(2 * len(weights))  # relative standard error of a std
        assert abs(weights.std() / expected - 1) < 5 * error
        assert abs(weights.mean()) < 5 * expected / math.sqrt(len(weights))


def test_unknown_arch_and_no_outputs_are_refused():
    with pytest.raises(UnknownNameError, match="resnet18"):
        build_model("resnet81", (1, 8, 8), 10)
    with pytest.raises(InputError, match="1 or more outputs"):
        build_model("mlp", (64,), 0)
