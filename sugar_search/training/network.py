"""Puts a run's parts together: device, data, network with its surrogate, optimizer."""

import logging
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import nn

from sugar_search.data._dataset import Dataset
from sugar_search.data._load import load_dataset
from sugar_search.errors import InputError
from sugar_search.models._model import build_model, find_arch
from sugar_search.training.recipe import Recipe
from sugar_search.training.recipe_parts import Sgd, Validation
from sugar_search.training.run import RunSpec

__all__ = ["autocast", "build_network", "build_optimizer", "device_of", "forked_random", "load_data", "validated"]

log = logging.getLogger("sugar_search")

DEVICE_SHARE = 0.4  # of the free GPU memory that data may take; networks and activations need the rest
# Swin's position tables have two dimensions, and its authors (and timm) leave them out of weight decay.
UNDECAYED = ("relative_position_bias_table", "absolute_pos_embed")


def device_of(spec: RunSpec) -> torch.device:
    """The device of a run, with its number where there are several.

    Raises:
        InputError: torch does not know the device, or this machine lacks it.
    """
    try:
        return torch.empty(0, device=spec.device).device
    except (RuntimeError, AssertionError) as error:  # a torch built without CUDA asserts
        raise InputError("device must exist on this machine", spec.device, "give cpu or cuda") from error


def forked_random(device: torch.device) -> AbstractContextManager[None]:
    """The block's draws leave torch's generators as they were; no GPU but the run's own is touched."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


@cache
def _on_device(dataset: str, data_dir: str | None, device: torch.device) -> Dataset:
    """Many runs of one process share one copy: on the device where it fits, else on the CPU (perhaps memory-mapped)."""
    data = load_dataset(dataset, data_dir=None if data_dir is None else Path(data_dir), offline=True)
    if device.type == "cuda" and data.nbytes > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return data
    return data.to(device)


def load_data(spec: RunSpec) -> Dataset:
    """The run's dataset with the validation split of its recipe; never downloads.

    It lies on the run's device if it fits there and batches are made there. Images that are changed one by one stay on
    the CPU.

    Raises:
        UnknownNameError: there is no such dataset.
        FileError: its files are missing or damaged.
        InputError: recipe and dataset do not fit together.
    """
    recipe, device = spec.recipe, device_of(spec)
    data = _on_device(spec.dataset, spec.data_dir, torch.device("cpu") if recipe.augment.by_image else device)
    if data.task == "regression" and recipe.selection.metric == "accuracy":
        raise InputError("a regression recipe must select by loss", "accuracy", 'set selection.metric = "loss"')
    return validated(data, recipe.validation, spec.seed)


def validated(data: Dataset, table: Validation, seed: int) -> Dataset:
    """The dataset with the validation split that a recipe's table asks for.

    Args:
        data: as loaded.
        table: of the recipe.
        seed: of the run.

    Raises:
        InputError: the table asks for the dataset's own split and it has none.
    """
    cuts = table.split == "share" or (table.split == "auto" and data.validation is None)
    if cuts and table.share is not None:
        if data.validation is not None:
            log.info("%s has validation samples of its own, which the recipe's share leaves unused", data.name)
        return data.with_validation(table.share, seed if table.seed == "run" else table.seed)
    if table.split == "test":
        return replace(data, validation=data.test)
    if data.validation is None:
        rule = f"dataset {data.name} has no validation split of its own: the recipe must cut one out"
        raise InputError(rule, 'split = "fixed"', 'set split = "share" and share = 0.1 in its [validation]')
    return data


def build_network(spec: RunSpec, data: Dataset) -> nn.Module:
    """The run's network on its device, initialised from torch's global generator, activation sites converted.

    Raises:
        UnknownNameError: there is no such architecture.
        InputError: architecture, its options, dataset and surrogate do not fit together.
    """
    arch = find_arch(spec.arch)
    options = spec.recipe.arch.get(arch.name.partition("/")[0], {})
    model = build_model(arch.name, spec.recipe.augment.seen(data.input_shape), data.outputs, **options)
    if spec.surrogate is not None:
        from sugar_search.activation.convert import convert
        from sugar_search.symbolic.surrogate import Surrogate

        sites = arch.sites if spec.sites is None else spec.sites
        model = convert(model, Surrogate.from_dict(spec.surrogate), sites=sites, sugar=spec.sugar)
    device = device_of(spec)
    if device.type == "cuda" and len(data.input_shape) == 3:
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(device)


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters; fused, as a loop over tensors costs a third of a small epoch.

    With `decay_one_dimensional = false` there are two groups: those that decay, and biases, other tensors of one
    dimension and position tables, which do not.
    """
    settings = recipe.optimizer
    options = settings.model_dump(exclude={"name", "lr_reference_batch", "decay_one_dimensional"})
    groups: list[dict[str, object]] = [{"params": list(model.parameters())}]
    if not settings.decay_one_dimensional:
        decayed: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for name, parameter in model.named_parameters():
            decayed[_decays(name, parameter)].append(parameter)
        groups = [{"params": decayed[True]}, {"params": decayed[False], "weight_decay": 0.0}]
    if isinstance(settings, Sgd):
        return torch.optim.SGD(groups, **options, fused=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(groups, **options, fused=True)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.dim() > 1 and not name.endswith(".bias") and not any(each in name for each in UNDECAYED)


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Bfloat16 where the recipe asks for it; "auto" uses it on CUDA devices that have it, where it gains."""
    gains = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    on = recipe.precision == "bfloat16" or (recipe.precision == "auto" and gains)
    return torch.autocast(device.type, torch.bfloat16, enabled=on)
