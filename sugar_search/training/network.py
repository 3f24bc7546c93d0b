"""Puts a run's parts together: device, data, network with its surrogate, optimizer."""

from functools import cache

import torch
from torch import nn

from sugar_search.data._dataset import Dataset, load_dataset
from sugar_search.errors import InputError
from sugar_search.models._model import build_model
from sugar_search.training.recipe import Recipe, Sgd
from sugar_search.training.run import RunSpec

__all__ = ["autocast", "build_network", "build_optimizer", "device_of", "load_data"]


def device_of(spec: RunSpec) -> torch.device:
    """The device of a run.

    Raises:
        InputError: torch does not know the device, or this machine lacks it.
    """
    try:
        device = torch.device(spec.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a torch built without CUDA asserts
        raise InputError("device must exist on this machine", spec.device, "give cpu or cuda") from error
    return device


@cache
def _on_device(dataset: str, device: torch.device) -> Dataset:
    """Many runs of one worker share one copy."""
    return load_dataset(dataset).to(device)


def load_data(spec: RunSpec) -> Dataset:
    """The run's dataset on its device.

    Raises:
        UnknownNameError: there is no such dataset.
        InputError: the recipe selects by accuracy and the dataset has none.
    """
    data = _on_device(spec.dataset, device_of(spec))
    if data.task == "regression" and spec.recipe.selection.metric == "accuracy":
        raise InputError("a regression recipe must select by loss", "accuracy", 'set selection.metric = "loss"')
    return data


def build_network(spec: RunSpec, data: Dataset) -> nn.Module:
    """The run's network on its device, initialised from torch's global generator, ReLU sites converted.

    Raises:
        UnknownNameError: there is no such architecture.
        InputError: architecture, dataset and surrogate do not fit together.
    """
    model = build_model(spec.arch, data.input_shape, data.outputs)
    if spec.surrogate is not None:
        from sugar_search.activation.convert import convert
        from sugar_search.symbolic.surrogate import Surrogate

        model = convert(model, Surrogate.from_dict(spec.surrogate), sugar=spec.sugar)
    device = device_of(spec)
    if device.type == "cuda" and len(data.input_shape) == 3:
        return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(device)


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters; fused, as a loop over tensors costs a third of a small epoch."""
    settings = recipe.optimizer
    options = settings.model_dump(exclude={"name"})
    if isinstance(settings, Sgd):
        return torch.optim.SGD(model.parameters(), **options, fused=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(model.parameters(), **options, fused=True)


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Bfloat16 where the recipe asks for it; "auto" uses it on CUDA devices that have it, where it gains."""
    gains = device.type == "cuda" and torch.cuda.is_bf16_supported()
    on = recipe.precision == "bfloat16" or (recipe.precision == "auto" and gains)
    return torch.autocast(device.type, torch.bfloat16, enabled=on)
