"""The batches of an epoch as the network takes them: on its device, normalised, augmented, mixed.

Where the recipe allows, the whole dataset stays on the device, a batch is a selection of rows, and windows, flips and
normalisation are batched operations there. Where it does not (images changed one by one, or data that do not fit), a
DataLoader with worker processes and pinned memory brings the batches.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sugar_search.data._dataset import Dataset
from sugar_search.errors import InputError
from sugar_search.training.augment import Look, draw_moves, look_of, moved, normalised, on_device
from sugar_search.training.pictures import Samples, Transform, mixer, picture_transform
from sugar_search.training.recipe import Recipe
from sugar_search.training.run import RunSpec

__all__ = ["Feed", "batches", "build_feed", "check_fit", "cut", "steps_per_epoch"]


@dataclass(frozen=True, eq=False)
class Feed:
    """What makes the batches of a run.

    Attributes:
        recipe: how to train.
        data: on the run's device where it fits and the recipe allows, else on the CPU.
        look: how samples must look to the network.
        seed: of the run.
        loaders: worker processes.
        transform: changes images one by one; None where batches are changed on the device.
        mix: mixes batches, None where the recipe has no [mix].
    """

    recipe: Recipe
    data: Dataset
    look: Look
    seed: int
    loaders: int
    transform: Transform | None
    mix: Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]] | None


def build_feed(spec: RunSpec, data: Dataset, device: torch.device) -> Feed:
    """The feed of a run.

    Args:
        spec: of the run.
        data: as `network.load_data` gives it.
        device: where the network is.

    Raises:
        InputError: recipe and dataset do not fit together.
    """
    look, transform = _check(spec.recipe, data, device)
    mix = mixer(spec.recipe, data.outputs, spec.seed) if spec.recipe.mix else None
    return Feed(spec.recipe, data, look, spec.seed, spec.loaders, transform, mix)


def check_fit(recipe: Recipe, data: Dataset) -> None:
    """Refuses, before any work, a recipe whose augmentation, normalisation or mixing the dataset cannot have.

    Raises:
        InputError: recipe and dataset do not fit together.
    """
    _check(recipe, data, torch.device("cpu"))


def _check(recipe: Recipe, data: Dataset, device: torch.device) -> tuple[Look, Transform | None]:
    if recipe.mix and (data.task != "classification" or len(data.train) < 2 or len(data.input_shape) != 3):
        raise InputError("mix needs two or more images with classes", data.name, "choose another recipe")
    if len(data.train) < 2:
        raise InputError("training needs two samples or more", f"{len(data.train)} in {data.name}", "add some")
    look = look_of(recipe.augment, data, device)
    return look, picture_transform(look, data.input_shape) if recipe.augment.by_image else None


def cut(recipe: Recipe, order: Tensor) -> list[list[Tensor]]:
    """The samples of an epoch as steps, each a list of batches.

    A last batch of one sample joins the one before, for batch norm cannot normalise one value. With `drop_last` samples
    that do not fill a step are left out; data of less than one step, or batch, are one step, or batch, all the same.
    With [mix], which pairs samples, a batch of odd size loses its last one.

    Args:
        recipe: gives the sizes.
        order: positions in the training split, int64 of shape (samples,).
    """
    if recipe.drop_last:
        unit = next((each for each in (recipe.step_size, recipe.batch_size) if each <= len(order)), len(order))
        order = order[: len(order) - len(order) % unit]
    parts = list(order.split(recipe.batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    if recipe.mix:
        parts = [part[: len(part) - len(part) % 2] for part in parts]
    return [parts[at : at + recipe.accumulate] for at in range(0, len(parts), recipe.accumulate)]


def steps_per_epoch(recipe: Recipe, samples: int) -> int:
    """Steps of one epoch over a training split of so many samples."""
    return len(cut(recipe, torch.arange(samples)))


def batches(
    feed: Feed, epoch: int, steps: Sequence[Sequence[Tensor]], order: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch: float32 inputs on the device, and int64 or float32 targets.

    Args:
        feed: of the run.
        epoch: counted from 1.
        steps: from `cut`, on the CPU.
        order: the run's generator; windows and flips are drawn from it, all at once.
    """
    parts = [part for step in steps for part in step]
    source = _resident(feed, parts) if _is_resident(feed) else _loaded(feed, epoch, parts)
    moves = None
    if feed.transform is None:
        moves = draw_moves(feed.look, sum(map(len, parts)), order)
    at = 0
    for number, (inputs, targets) in enumerate(source):
        inputs, targets = on_device(feed.look, inputs), on_device(feed.look, targets)
        if moves is None:
            inputs = inputs.contiguous(memory_format=feed.look.layout)
        else:
            inputs = normalised(feed.look, moved(feed.look, inputs, moves, slice(at, at + len(inputs))))
            at += len(inputs)
        yield feed.mix(inputs, targets, epoch, number) if feed.mix else (inputs, targets)


def _is_resident(feed: Feed) -> bool:
    """Whether batches are selections of rows where the data are: no loader is needed, or none would help."""
    here = feed.data.train.inputs.device == feed.look.device
    return feed.transform is None and here


def _resident(feed: Feed, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    sizes = [len(part) for part in parts]
    rows = torch.cat(list(parts)).to(feed.data.train.inputs.device)  # one transfer an epoch
    return (feed.data.train.take(part) for part in rows.split(sizes))


def _loaded(feed: Feed, epoch: int, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches from worker processes, or from this one where there are none; the same bits for any number."""
    forks = "fork" in multiprocessing.get_all_start_methods()
    workers = min(feed.loaders, len(parts), len(os.sched_getaffinity(0))) if forks else 0
    loader = torch.utils.data.DataLoader(
        Samples(feed.data.train, feed.transform, feed.seed, epoch),
        batch_sampler=[part.tolist() for part in parts],
        num_workers=workers,
        # Forked, a process shares the mapped images and has timm's transforms; elsewhere this process prepares them.
        multiprocessing_context="fork" if workers else None,
        collate_fn=_as_they_are,
        pin_memory=feed.look.device.type == "cuda",
        generator=torch.Generator(),  # else it draws a seed from the run's own numbers
    )
    return iter(loader)


def _as_they_are(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch
