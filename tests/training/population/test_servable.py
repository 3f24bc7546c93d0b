"""Which runs train in a batch: the small perceptrons, with recipes that do nothing to single images."""

import itertools
import math
import sys
import types
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training import network
from sugar_search.training.loop import train
from sugar_search.training.population import servable as module_of_servable
from sugar_search.training.population.perceptron import disagreement, obstacle
from sugar_search.training.population.servable import bytes_per_member, kin, servable
from sugar_search.training.population.train import train_population


def test_both_perceptrons_are_servable(make_spec):
    bsilu = surrogate("bsilu").to_dict()
    assert servable(make_spec()) is None
    assert servable(make_spec(surrogate=bsilu)) is None
    assert servable(make_spec(arch="narrow_mlp", dataset="regression/f2", surrogate=bsilu)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arch": "resnet18"}, "layers other than"),
        ({"accumulate": 2}, "accumulates gradients"),
        ({"ema": {"decay": 0.9}}, "averages weights"),
        ({"mix": {"mixup_alpha": 0.5}}, "mixes samples"),
        ({"augment": {"flip": 0.5}}, "augments images"),
        ({"augment": {"crop": "padded"}}, "augments images"),
        ({"augment": {"erase_probability": 0.5}}, "augments images"),
        ({"augment": {"resize": 16}}, "resizes images"),
        ({"precision": "bfloat16"}, "bfloat16"),
        ({"sugar": False, "surrogate": surrogate("elu").to_dict()}, "own activation"),
    ],
)
def test_what_the_ordinary_loop_must_train(make_spec, changes, said):
    spec = make_spec(**changes)
    assert said in servable(spec)
    with pytest.raises(InputError, match=r"train them with loop\.train"):
        next(train_population([spec]))


def test_compiled_runs_and_other_sites(make_spec):
    assert "compiled" in servable(replace(make_spec(), compile=True))
    assert "other activations" in servable(replace(make_spec(surrogate=surrogate("elu").to_dict()), sites=("gelu",)))


def test_kin_differ_in_surrogate_seed_folder_and_options_alone(make_spec):
    one = make_spec()
    options = one.recipe.model_copy(update={"arch": {"narrow_mlp": {"init": "rai"}}})
    for other in (
        make_spec("other", seed=5, surrogate=surrogate("elu").to_dict()),
        replace(one, recipe=options),
    ):
        assert kin(one) == kin(other)
    for other in (
        make_spec(epochs=5),
        make_spec(arch="narrow_mlp"),
        make_spec(dataset="digits/32"),
        replace(one, threads=2),
        replace(one, device="cuda"),
    ):
        assert kin(one) != kin(other)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Linear(2, 2), "no nn.Sequential"),
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)), "layers other than"),
        (nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU()), "no bias"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), "does not follow"),
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.ReLU()), "does not follow"),
        (nn.Sequential(nn.Linear(2, 2)), "no ReLU"),
        (nn.Sequential(nn.Linear(2, 2), nn.Flatten(), nn.ReLU()), "Flatten"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(2, 2), nn.ReLU()), "whole samples"),
        (nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 1)), None),
    ],
)
def test_networks(model, said):
    found = obstacle(model)
    assert (found is None) == (said is None) and (said or "") in (found or "")


class Scaled(nn.Sequential):
    def forward(self, x):
        return 3 * super().forward(x)


class Wide(nn.Linear):
    pass


def built(change=lambda model: None, **options):
    def build(input_shape, outputs):
        act, width = nn.ReLU(), math.prod(input_shape)
        layers = [nn.Flatten(), nn.Linear(width, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 8), act]
        model = nn.Sequential(*layers, nn.Linear(8, outputs))
        return change(model) or model

    return build


def put(at, module):
    return lambda model: model.__setitem__(at, module) and None


def tie(model):
    model[5].weight = model[3].weight


def freeze(model):
    model[1].weight.requires_grad_(False)


def forwarded(model):
    plain = model.forward
    model.forward = lambda x: 3 * plain(x)


def layer_forwarded(model):
    model[2].forward = torch.tanh


def weight_norm(model):
    nn.utils.parametrizations.weight_norm(model[1])


def old_weight_norm(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(model[1])


CHANGES = {
    "forward hook": lambda m: m[1].register_forward_hook(lambda module, x, y: y * 0.1) and None,
    "forward hook of the whole": lambda m: m.register_forward_hook(lambda module, x, y: y * 0.1) and None,
    "pre-hook": lambda m: m[2].register_forward_pre_hook(lambda module, x: x) and None,
    "backward hook": lambda m: m[1].register_full_backward_hook(lambda module, x, y: None) and None,
    "gradient hook": lambda m: m[1].weight.register_hook(lambda gradient: gradient * 2) and None,
    "accumulation hook": lambda m: m[1].weight.register_post_accumulate_grad_hook(lambda p: None) and None,
    "state dict hook": lambda m: m.register_state_dict_post_hook(lambda *_: None) and None,
    "own forward": forwarded,
    "a layer's own forward": layer_forwarded,
    "subclass": lambda m: Scaled(*m),
    "subclass of a layer": put(3, Wide(8, 8)),
    "frozen": freeze,
    "tied": tie,
    "twice": lambda m: m.__setitem__(5, m[3]),
    "weight norm": weight_norm,
    "old weight norm": old_weight_norm,
    "double": lambda m: m.double(),
    "half a sample": put(1, nn.Linear(32, 8)),
    "other outputs": put(7, nn.Linear(8, 3)),
    "buffer": lambda m: m.register_buffer("extra", torch.zeros(1)),
    "parameter": lambda m: m[2].register_parameter("extra", nn.Parameter(torch.zeros(1))),
    "attribute": lambda m: setattr(m[1], "scale", 3),
}


@pytest.fixture
def own_arch(monkeypatch):
    """Puts a builder in place of a user's callable; returns what names it."""
    count = itertools.count()
    module = types.ModuleType("own_perceptrons")
    monkeypatch.setitem(sys.modules, "own_perceptrons", module)

    def put(build):
        name = f"build{next(count)}_{id(build)}"
        setattr(module, name, build)
        return f"own_perceptrons:{name}"

    return put


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_networks_that_are_not_what_their_layers_say(make_spec, own_arch, change):
    try:
        assert isinstance(servable(make_spec(arch=own_arch(built(change)))), str)
    except InputError as error:  # no run can train it
        assert "own_perceptrons" in str(error)


def test_a_relu_that_is_used_twice_is_served_as_the_loop_trains_it(make_spec, own_arch):
    arch = own_arch(built())
    assert servable(make_spec(arch=arch)) is None
    one, other = make_spec("one", arch=arch, epochs=2), make_spec("other", arch=arch, epochs=2)
    for a, b in zip(train(one), train_population([other]), strict=True):
        assert a.train_loss == pytest.approx(b[0].train_loss, rel=1e-4)


def test_what_an_obstacle_misses_the_comparison_finds():
    torch.manual_seed(0)
    model = built()((4,), 3)
    assert disagreement(model, (4,), 3) is None
    assert "does not compute" in disagreement(Scaled(*model), (4,), 3)
    model[1].weight.register_hook(lambda gradient: gradient * 2)
    assert "does not compute" in disagreement(model, (4,), 3)
    assert "refuses samples" in disagreement(model, (5,), 3)


def test_the_question_wakes_no_device_and_reads_no_data(make_spec, monkeypatch):
    monkeypatch.setattr(network, "_on_device", None)
    monkeypatch.setattr(network, "device_of", None)
    exact = {"precision": "float32"}
    assert servable(replace(make_spec(**exact), device="cuda")) is None
    assert "bfloat16" in servable(replace(make_spec(), device="cuda:1"))
    for arch in ("resnet18", "swin_t"):
        assert servable(replace(make_spec(arch=arch, dataset="cifar10", **exact), device="cuda")) is not None
    with pytest.raises(InputError, match="give cpu or cuda"):
        servable(replace(make_spec(), device="gpu"))


def test_a_large_network_is_refused_without_values(make_spec, monkeypatch):
    monkeypatch.setattr(module_of_servable, "disagreement", None)
    seen = []
    build = module_of_servable.build_model

    def watched(*given, **options):
        model = build(*given, **options)
        seen.append({each.device.type for each in model.parameters()})
        return model

    monkeypatch.setattr(module_of_servable, "build_model", watched)
    module_of_servable._obstacle.cache_clear()
    assert servable(make_spec(arch="resnet18", dataset="cifar10")) is not None
    assert seen == [{"meta"}]


def test_data_of_an_unknown_shape_are_read_on_the_cpu(make_spec, make_images, monkeypatch):
    data, seen = make_images(validation=True), []
    monkeypatch.setattr(network, "_on_device", lambda name, data_dir, device: (seen.append(device.type), data)[1])
    monkeypatch.setattr(module_of_servable, "facts", lambda text: None)
    assert servable(replace(make_spec(dataset="images", precision="float32"), device="cuda")) is None
    assert seen == ["cpu"]


def test_the_random_state_is_left_alone(make_spec, own_arch):
    before = torch.get_rng_state()
    servable(make_spec(arch=own_arch(built())))
    assert torch.equal(torch.get_rng_state(), before)


def test_bytes_of_a_member(make_spec):
    small, large = (bytes_per_member(make_spec(arch=arch)) for arch in ("narrow_mlp", "mlp"))
    weights = 4 * (64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10)
    assert small < 3 * weights < 6 * weights < large < 20 * weights
    adam = bytes_per_member(make_spec(optimizer={"name": "adam", "lr": 0.1}))
    best = bytes_per_member(make_spec(selection={"metric": "loss", "epoch": "best"}))
    wide = bytes_per_member(make_spec(batch_size=1000))
    assert min(adam, best, wide) > large
