"""Which runs train in a batch: the small perceptrons, with recipes that do nothing to single images."""

from dataclasses import replace

import pytest
from torch import nn

from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training.population.layout import obstacle
from sugar_search.training.population.servable import kin, servable
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
        (nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 1)), None),
    ],
)
def test_networks(model, said):
    found = obstacle(model)
    assert (found is None) == (said is None) and (said or "") in (found or "")
