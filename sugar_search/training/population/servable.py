"""Which runs can train in a batch, and what members of one batch must share."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch

from sugar_search.errors import InputError
from sugar_search.models._model import build_model, find_arch
from sugar_search.training.network import autocast, device_of, forked_random, load_data
from sugar_search.training.population.layout import obstacle
from sugar_search.training.run import RunSpec

__all__ = ["check_alike", "kin", "servable"]


def servable(spec: RunSpec) -> str | None:
    """Why a run cannot be a member of a population, as a clause; None when it can.

    Raises:
        UnknownNameError: there is no such architecture or dataset.
        InputError: architecture, its options and dataset do not fit together.
        FileError: the dataset's files are missing or damaged.
    """
    recipe, augment = spec.recipe, spec.recipe.augment
    reasons = {
        "the recipe augments images": augment.by_image or augment.crop != "none" or augment.flip,
        "the recipe resizes images": augment.resize is not None,
        "the recipe mixes samples": recipe.mix is not None,
        "the recipe averages weights": recipe.ema is not None,
        "the recipe accumulates gradients": recipe.accumulate > 1,
        "the forward pass is compiled": spec.compile,
        "the surrogate's own activation runs forward": spec.surrogate is not None and not spec.sugar,
        "other activations than ReLU are replaced": spec.sites not in (None, ("relu",)),
        "the forward pass runs in bfloat16": _mixed(spec),
    }
    said = next((reason for reason, holds in reasons.items() if holds), None)
    if said is not None:
        return said
    arch, data = find_arch(spec.arch), load_data(spec)
    if spec.surrogate is not None and arch.sites != ("relu",):
        return "other activations than ReLU are replaced"
    options = recipe.arch.get(arch.name.partition("/")[0], {})
    return _obstacle(arch.name, data.input_shape, data.outputs, tuple(sorted(options.items())))


def _mixed(spec: RunSpec) -> bool:
    device = device_of(spec)
    with autocast(spec.recipe, device):
        return torch.is_autocast_enabled(device.type)


@cache
def _obstacle(
    arch: str, shape: tuple[int, ...], outputs: int, options: tuple[tuple[str, bool | int | float | str], ...]
) -> str | None:
    with forked_random(torch.device("cpu")):
        return obstacle(build_model(arch, shape, outputs, **dict(options)))


def kin(spec: RunSpec) -> str:
    """A text that is equal for runs that can share a batch: all but surrogate, seed and options of the architecture."""
    alike = replace(spec, recipe=spec.recipe.model_copy(update={"arch": {}}), seed=0, surrogate=None)
    return f"{alike.digest} {spec.device} {spec.data_dir}"


def check_alike(specs: Sequence[RunSpec]) -> None:
    """Refuses what cannot train in one batch.

    Raises:
        InputError: a run is not `servable`, two differ in more than members may, or two share a folder.
    """
    if not specs:
        raise InputError("a population must have one member or more", 0, "give some")
    for spec in specs:
        if kin(spec) != kin(specs[0]):
            rule = "members of a population may differ in surrogate, seed and options of the architecture alone"
            raise InputError(rule, spec.folder, "train it apart")
