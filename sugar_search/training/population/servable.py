"""Which runs can train in a batch, and what members of one batch must share."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch

from sugar_search import catalog
from sugar_search.data._about import facts
from sugar_search.errors import InputError
from sugar_search.models._model import build_model, find_arch
from sugar_search.training import network
from sugar_search.training.metrics import CHUNK
from sugar_search.training.population.layout import Layout, layout_of
from sugar_search.training.population.perceptron import disagreement, obstacle
from sugar_search.training.run import RunSpec

__all__ = ["bytes_per_member", "check_alike", "kin", "servable", "weights_of"]

Options = tuple[tuple[str, bool | int | float | str], ...]


def servable(spec: RunSpec) -> str | None:
    """Why a run cannot be a member of a population, as a clause; None when it can.

    The run's device is left alone, and no data are read whose shape is known by the dataset's name.

    Raises:
        UnknownNameError: there is no such architecture or dataset.
        InputError: architecture, its options and dataset do not fit together.
        FileError: files of a dataset that must be read are missing or damaged.
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
    if spec.surrogate is not None and find_arch(spec.arch).sites != ("relu",):
        return "other activations than ReLU are replaced"
    return _obstacle(*_network(spec))


def weights_of(spec: RunSpec) -> int:
    """How many weights the network of a servable run has."""
    return sum(_layout(*_network(spec)).widths)


def bytes_per_member(spec: RunSpec) -> int:
    """Bytes of memory that one member needs beside the data, about: itself, its values, and a copy to be stored.

    Args:
        spec: a run that is `servable`.
    """
    arch, shape, outputs, options = _network(spec)
    layout = _layout(arch, shape, outputs, options)
    moments = {"sgd": 1 if getattr(spec.recipe.optimizer, "momentum", 0) else 0}.get(spec.recipe.optimizer.name, 2)
    best = int(spec.recipe.selection.epoch == "best")
    # Weights, gradients, moments and best weights; then those that are stored, as a copy and as the bytes of a file.
    rows = (2 + moments + best) + 2 * (1 + moments + best)
    units = math.prod(shape) + sum(3 * layer.weight.shape[0] for layer in layout.layers)
    return 4 * (rows * sum(layout.widths) + units * max(spec.recipe.batch_size, CHUNK))


def kin(spec: RunSpec) -> str:
    """A text that is equal for runs that can share a batch: all but surrogate, seed and options of the architecture."""
    alike = replace(spec, recipe=spec.recipe.model_copy(update={"arch": {}}), seed=0, surrogate=None)
    return f"{alike.digest} {spec.device} {spec.data_dir}"


def check_alike(specs: Sequence[RunSpec], *, apart: bool) -> None:
    """Refuses what cannot train in one batch.

    Args:
        specs: the runs.
        apart: whether each must have a folder of its own.

    Raises:
        InputError: two differ in more than members may, or share a folder.
    """
    if not specs:
        raise InputError("a population must have one member or more", 0, "give some")
    folders: set[str] = set()
    for spec in specs:
        if kin(spec) != kin(specs[0]):
            rule = "members of a population may differ in surrogate, seed and options of the architecture alone"
            raise InputError(rule, spec.folder, "train it apart")
        folder = os.path.realpath(spec.folder)
        if apart and folder in folders:
            raise InputError("each member of a population must have a folder of its own", spec.folder, "give another")
        folders.add(folder)


def _mixed(spec: RunSpec) -> bool:
    """Whether the forward pass may run in bfloat16; that a GPU lacks it is not asked, for that would wake the GPU."""
    try:
        kind = torch.device(spec.device).type
    except RuntimeError as error:
        raise InputError("device must exist on this machine", spec.device, "give cpu or cuda") from error
    return spec.recipe.precision == "bfloat16" or (spec.recipe.precision == "auto" and kind == "cuda")


def _network(spec: RunSpec) -> tuple[str, tuple[int, ...], int, Options]:
    """Canonical name of the architecture, shape of a sample, number of outputs, options of the architecture."""
    arch, known = find_arch(spec.arch), facts(spec.dataset)
    options = spec.recipe.arch.get(arch.name.partition("/")[0], {})
    if known is None:
        data = network.load_data(replace(spec, device="cpu"))
        shape, outputs = data.input_shape, data.outputs
    else:
        shape, outputs = known.input_shape, known.outputs
    return arch.name, tuple(shape), outputs, tuple(sorted(options.items()))


@cache
def _obstacle(arch: str, shape: tuple[int, ...], outputs: int, options: Options) -> str | None:
    with network.forked_random(torch.device("cpu")):
        torch.manual_seed(0)  # else a comparison might end otherwise the next time
        # A user's function may keep tensors for its next call, so it is never called for networks without values.
        if not catalog.is_reference(arch) and (said := _shape_obstacle(arch, shape, outputs, options)) is not None:
            return said
        model = build_model(arch, shape, outputs, **dict(options))
        return obstacle(model) or disagreement(model, shape, outputs)


def _shape_obstacle(arch: str, shape: tuple[int, ...], outputs: int, options: Options) -> str | None:
    """The `obstacle` of a network whose values are never made, which a large one would take seconds for."""
    try:
        with torch.device("meta"):
            model = build_model(arch, shape, outputs, **dict(options))
    except (RuntimeError, NotImplementedError):  # it needs values to be built
        return None
    return obstacle(model)


@cache
def _layout(arch: str, shape: tuple[int, ...], outputs: int, options: Options) -> Layout:
    with network.forked_random(torch.device("cpu")):
        return layout_of(build_model(arch, shape, outputs, **dict(options)), separate=False)
