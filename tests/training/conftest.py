"""Small runs that the training tests share."""

import pytest

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
