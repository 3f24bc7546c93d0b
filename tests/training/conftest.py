"""Small runs that the training tests share."""

import dataclasses

import pytest
import torch
from training_runs import Drawing, small_net

from sugar_search.data._dataset import Dataset, Split
from sugar_search.training import network
from sugar_search.training.recipe import Recipe
from sugar_search.training.run import RunSpec


def _recipe(**changes):
    content = {
        "epochs": 4,
        "batch_size": 64,
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
        "schedule": {"name": "one-cycle"},
    }
    return Recipe.model_validate({**content, **changes})


@pytest.fixture
def make_recipe():
    """Builds a recipe of 4 short epochs with the changes given."""
    return _recipe


@pytest.fixture
def make_spec(tmp_path):
    """Builds a quick run: an MLP on the digits, in a folder of its own unless one is named."""

    def make(folder="run", *, arch="mlp", dataset="digits", seed=1, surrogate=None, threads=1, sugar=True, **changes):
        where = str(tmp_path / folder)
        return RunSpec(arch, dataset, _recipe(**changes), seed, surrogate, threads=threads, folder=where, sugar=sugar)

    return make


@pytest.fixture
def make_images(monkeypatch):
    """Puts a few uint8 images, whose class shows in their brightness, in place of every dataset; returns them."""

    def make(train=80, test=24, size=16, channels=3, classes=4, validation=False):
        generator = torch.Generator().manual_seed(3)
        targets = torch.arange(train + test) % classes
        noise = torch.randint(0, 120, (train + test, channels, size, size), generator=generator)
        inputs = (noise + 30 * targets.view(-1, 1, 1, 1)).to(torch.uint8)
        splits = Split(inputs[:train], targets[:train]), Split(inputs[train:], targets[train:])
        own = splits[1] if validation else None
        mean, std = (0.4, 0.5, 0.45)[:channels], (0.2, 0.25, 0.3)[:channels]
        data = Dataset("small", "classification", classes, splits[0], own, splits[1], mean, std)
        monkeypatch.setattr(network, "_on_device", lambda name, data_dir, device: data.to(device))
        return data

    return make


@pytest.fixture
def make_run(make_spec, make_images, monkeypatch):
    """Builds a run of a small convolutional net, with batch norm and dropout, on small images."""
    make_images()
    monkeypatch.setattr(network, "build_model", small_net)

    def make(folder="run", *, loaders=0, **changes):
        content = {
            "epochs": 3,
            "batch_size": 16,
            "validation": {"split": "share", "share": 0.1},
            "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
            **changes,
        }
        return dataclasses.replace(make_spec(folder, **content), loaders=loaders)

    return make


@pytest.fixture
def drawing(monkeypatch):
    """Networks that draw from torch's global generator."""
    monkeypatch.setattr(network, "build_model", lambda arch, shape, outputs, **options: Drawing(64))
