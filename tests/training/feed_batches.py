"""What tests of batches share."""

import itertools

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sugar_search.training import feed
from sugar_search.training.recipe import Recipe
from sugar_search.training.run import RunSpec

CPU = torch.device("cpu")


def recipe_of(batch_size=8, **tables):
    content = {"epochs": 1, "batch_size": batch_size, "optimizer": {"name": "sgd", "lr": 0.1}}
    return Recipe.model_validate({**content, **tables})


def spec_of(recipe, seed=7, loaders=0):
    return RunSpec("mlp", "small", recipe, seed, None, loaders=loaders)


def feed_of(recipe, data, device=CPU, **options):
    return feed.build_feed(spec_of(recipe, **options), data, device)


def epoch_of(made, epoch=1, seed=0):
    """Rows of each batch, and the batches themselves."""
    order = torch.Generator().manual_seed(seed)
    steps = feed.cut(made.recipe, torch.randperm(len(made.data.train), generator=order))
    return list(itertools.chain(*steps)), list(feed.batches(made, epoch, steps, order))


def same(first, second):
    return all(torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two))


class NoWaiting(TorchDispatchMode):
    """Fails on operators that make the host wait for a device, whatever the device is here."""

    WAITING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        if any(name == waiting or name.startswith(f"{waiting}_") for waiting in self.WAITING):
            raise AssertionError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))
