"""Architectures: parameter and site counts, initialisation, options, and what they refuse."""

import math

import pytest
import torch
from nets import CLASSES, SMALL, converted, parameters, sites
from torch import nn

from sugar_search import catalog
from sugar_search.activation.kinds import KINDS
from sugar_search.errors import InputError, UnknownNameError
from sugar_search.models._model import build_model, find_arch

COUNTS = {
    ("resnet18", 10): 11_173_962,
    ("resnet18", 100): 11_220_132,
    ("vgg16", 10): 14_728_266,
    ("vgg16", 100): 14_774_436,
    ("conv2next", 100): 7_384_106,
    ("conv2next/tiny", 100): 3_278_658,
    ("swin_t", 200): 27_673_154,
}


def variants(name):
    return getattr(catalog.load_module("archs", name), "VARIANTS", ())


ALL = [text for name in catalog.names("archs") for text in (name, *(f"{name}/{each}" for each in variants(name)))]


@pytest.mark.parametrize(("arch", "classes"), COUNTS)
def test_networks_have_the_published_number_of_parameters(arch, classes):
    assert parameters(build_model(arch, (3, 32, 32), classes)) == COUNTS[arch, classes]


@pytest.mark.parametrize(("classes", "expected"), [(10, 14_719_818), (100, 14_765_988)])
def test_vgg16_without_batch_norm_has_the_published_number_of_parameters(classes, expected):
    assert parameters(build_model("vgg16", (3, 32, 32), classes, batch_norm=False)) == expected


@pytest.mark.parametrize(("arch", "shape", "expected"), SMALL)
def test_each_site_of_a_network_runs_once_in_a_pass(arch, shape, expected):
    model = converted(arch, shape).eval()
    calls = []
    for site in sites(model):
        site.register_forward_hook(lambda module, inputs, output: calls.append(id(module)))
    with torch.no_grad():
        assert model(torch.zeros(2, *shape)).shape == (2, 5)
    assert len(calls) == expected and sorted(calls) == sorted(map(id, sites(model)))
    assert not any(isinstance(module, CLASSES[kind]) for module in model.modules() for kind in find_arch(arch).sites)


@pytest.mark.parametrize("arch", ALL)
def test_every_arch_maps_a_batch_of_images_to_its_outputs_and_has_sites(arch):
    found = find_arch(arch)
    assert found.sites and set(found.sites) <= set(KINDS)
    assert find_arch(found.name) == found  # the canonical text stands for itself
    assert found.recipe is None or found.recipe in catalog.names("recipes")
    model = converted(arch, (1, 8, 8), outputs=3)
    assert model(torch.randn(4, 1, 8, 8)).shape == (4, 3)
    assert sites(model)
    assert catalog.summary("archs", arch.partition("/")[0]).endswith(".")


@pytest.mark.parametrize("arch", ALL)
def test_every_option_has_a_default_that_is_accepted_and_none_other_is(arch):
    found = find_arch(arch)
    if not found.options:
        with pytest.raises(InputError, match="takes no options"):
            build_model(arch, (1, 8, 8), 3, batch_norms=True)
        return
    with pytest.raises(InputError, match=f"only the options .*{found.options[0]}.*'batch_norms'"):
        build_model(arch, (1, 8, 8), 3, batch_norms=True)


@pytest.mark.parametrize(
    ("arch", "options", "words"),
    [
        ("vgg16", {"batch_norm": 1}, "true or false"),
        ("vgg16", {"batch_norm": "no"}, "true or false"),
        ("conv2next", {"drop_path": True}, "a number"),
        ("swin_t", {"drop_path": "0.2"}, "a number"),
        ("conv2next", {"drop_path": 1.0}, "below 1"),
        ("swin_t", {"drop_path": -0.1}, "0 or more"),
        ("swin_t", {"drop_path": math.nan}, "0 or more"),
    ],
)
def test_options_of_a_wrong_type_or_out_of_range_are_refused(arch, options, words):
    with pytest.raises(InputError, match=words) as caught:
        build_model(arch, (3, 32, 32), 10, **options)
    assert "\n" not in str(caught.value) and next(iter(options)) in str(caught.value)


def test_arch_texts_are_canonical():
    assert find_arch("Conv2NeXt/Tiny").name == "conv2next/tiny"
    assert find_arch("conv2next/base").name == find_arch("conv2next").name == "conv2next"
    assert find_arch("Swin-T").name == "swin_t"
    assert find_arch("conv2next/tiny").recipe == "paper-g" and find_arch("swin_t").recipe == "paper-f"
    assert find_arch("resnet18").recipe is None and find_arch("mlp").options == ()
    assert find_arch("vgg16").options == ("batch_norm",) and find_arch("conv2next/tiny").options == ("drop_path",)


def test_unknown_archs_and_variants_and_no_outputs_are_refused():
    with pytest.raises(UnknownNameError, match="resnet18"):
        build_model("resnet81", (1, 8, 8), 10)
    with pytest.raises(UnknownNameError, match="conv2next/tiny"):
        find_arch("conv2next/tinny")
    with pytest.raises(UnknownNameError, match="conv2next/base"):
        find_arch("conv2next/")
    with pytest.raises(InputError, match="resnet18 has no variants"):
        find_arch("resnet18/tiny")
    with pytest.raises(InputError, match="1 or more outputs"):
        build_model("mlp", (64,), 0)


@pytest.mark.parametrize(
    ("arch", "shape", "size"),
    [
        ("resnet18", (64,), 8),
        ("resnet18", (1, 4, 8), 8),
        ("resnet18", (8, 8), 8),
        ("vgg16", (64,), 1),
        ("vgg16", (3, 0, 32), 1),
        ("conv2next", (3, 1, 32), 2),
        ("conv2next/tiny", (32, 32), 2),
        ("swin_t", (3, 3, 64), 4),
        ("swin_t", (0, 64, 64), 4),
    ],
)
def test_what_is_no_image_or_too_small_is_refused(arch, shape, size):
    with pytest.raises(InputError, match=f"{arch.partition('/')[0]} needs images .*{size}x{size} pixels") as caught:
        build_model(arch, shape, 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("arch", "size"), [("resnet18", 8), ("vgg16", 1), ("conv2next", 2), ("swin_t", 4)])
def test_the_smallest_image_that_is_not_refused_can_be_trained_on(arch, size):
    model = build_model(arch, (3, size, size), 10)
    model(torch.randn(4, 3, size, size)).square().sum().backward()
    assert all(weights.grad is not None and weights.grad.isfinite().all() for weights in model.parameters())


@pytest.mark.parametrize("arch", ["mlp", "narrow_mlp", "resnet18", "vgg16", "conv2next", "swin_t"])
def test_same_torch_seed_gives_the_same_weights(arch):
    def build(seed):
        torch.manual_seed(seed)
        model = build_model(arch, (1, 32, 32), 10)  # one channel: swin_t gets a patch convolution of its own
        return torch.cat([weights.detach().flatten() for weights in model.parameters()])

    assert torch.equal(build(1), build(1))
    assert arch == "swin_t" or not torch.equal(build(1), build(2))  # it takes a second to build


def test_resnet18_halves_the_map_three_times_and_never_pools_before():
    model = build_model("resnet18", (3, 32, 32), 10).eval()
    shapes = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    assert shapes == [(64, 32, 32)] * 5 + [(128, 16, 16)] * 4 + [(256, 8, 8)] * 4 + [(512, 4, 4)] * 4


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


def test_resnet18_with_the_stem_of_imagenet_sees_a_sixteenth_of_the_pixels():
    small, large = (build_model("resnet18", (3, 32, 32), 10, stem=stem) for stem in ("3x3", "7x7"))
    assert parameters(large) - parameters(small) == 3 * 64 * (7 * 7 - 3 * 3)
    x = torch.randn(2, 3, 32, 32)
    assert small[:3](x).shape == (2, 64, 32, 32) and large[:4](x).shape == (2, 64, 8, 8)
    assert large(x).shape == (2, 10)
    with pytest.raises(InputError, match="3x3 or 7x7"):
        build_model("resnet18", (3, 32, 32), 10, stem="5x5")
