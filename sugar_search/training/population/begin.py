"""Makes a population: members, their networks as a solo run initialises them, and blocks; or takes one up again."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from sugar_search.data._dataset import Dataset, Split
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate
from sugar_search.training.augment import look_of
from sugar_search.training.network import build_network, device_of, forked_random, load_data
from sugar_search.training.population import store
from sugar_search.training.population.block import Member, block_of
from sugar_search.training.population.gradient import sorting_key
from sugar_search.training.population.layout import Layout, layout_of
from sugar_search.training.population.members import Population
from sugar_search.training.population.servable import check_alike, servable
from sugar_search.training.run import RunSpec
from sugar_search.training.state import finished

__all__ = ["begin"]

# Bytes that a step of a block touches: members of a larger block push each other out of the cache.
BLOCK_BYTES = 8 * 2**20


def begin(specs: Sequence[RunSpec], folder: Path | None, *, keep: bool) -> Population:
    """A new population, or the one that a checkpoint holds; arguments as in `train_population`.

    Raises:
        InputError: the runs cannot train in one batch, or an option of theirs breaks a rule.
        FileError: a folder cannot be read.
    """
    check_alike(specs)
    for spec in {str(spec.recipe.arch): spec for spec in specs}.values():
        if (reason := servable(spec)) is not None:
            raise InputError("runs must be servable to train in a batch", reason, "train them with loop.train")
    complete = {number: history for number, spec in enumerate(specs) if keep and (history := finished(spec))}
    waiting = [number for number in range(len(specs)) if number not in complete]
    population = Population(complete, folder)
    if waiting:
        _fill(population, {number: specs[number] for number in waiting})
    return population


def _fill(population: Population, specs: dict[int, RunSpec]) -> None:
    """Puts the runs that are not complete into a population."""
    first = next(iter(specs.values()))
    device = device_of(first)
    saved = None if population.folder is None else store.load(population.folder, list(specs.values()))
    surrogates = {str(spec.surrogate): spec.surrogate for spec in specs.values()}
    made = {key: None if each is None else Surrogate.from_dict(each) for key, each in surrogates.items()}
    data = load_data(first)
    assert data.validation is not None
    population.shown = (data.train, data.validation, look_of(first.recipe.augment, data, device))
    members = [_member(number, spec, made[str(spec.surrogate)]) for number, spec in specs.items()]
    members.sort(key=lambda member: sorting_key(member.surrogate))
    population.members = members
    population.network = _network(first, data)
    layout = layout_of(population.network, separate=not first.recipe.optimizer.decay_one_dimensional)
    if saved is not None:
        population.epoch = saved.epoch
        for member in members:
            member.history[:] = saved.histories[member.spec.digest]
            if (error := saved.diverged.get(member.spec.digest)) is not None:
                population.ended[member.number] = error
    live = [member for member in members if member.number not in population.ended]
    for part in _cut(live, _bytes(layout, first)):
        if saved is None:
            block = block_of(layout, first.recipe, part, [_network(member.spec, data) for member in part])
        else:
            block = saved.restored(layout, part)
        population.blocks.append(block)


def _member(number: int, spec: RunSpec, surrogate: Surrogate | None) -> Member:
    data = load_data(spec)
    assert data.validation is not None
    return Member(number, spec, surrogate, _positions(data.train), _positions(data.validation), [])


def _positions(split: Split) -> torch.Tensor:
    """Rows of the inputs that belong to a split, on the CPU, where orders are drawn."""
    return torch.arange(len(split)) if split.rows is None else split.rows.cpu()


def _network(spec: RunSpec, data: Dataset) -> nn.Module:
    """The run's network as `state.start` initialises it; its ReLUs stay, for the population has their gradients."""
    with forked_random(device_of(spec)):
        torch.manual_seed(spec.seed)
        return build_network(replace(spec, surrogate=None), data)


def _bytes(layout: Layout, spec: RunSpec) -> int:
    """What a step of one member touches: weights, gradients, two moments, and three values of each unit."""
    units = sum(sum(layer.weight.shape) for layer in layout.layers)
    return 4 * (4 * sum(layout.widths) + 3 * units * spec.recipe.batch_size)


def _cut(members: Sequence[Member], each: int) -> list[Sequence[Member]]:
    """Members in even parts, none of which needs more than BLOCK_BYTES."""
    parts = -(-len(members) // max(1, BLOCK_BYTES // each))
    ends = [len(members) * part // parts for part in range(parts + 1)] if parts else [0]
    return [members[start:end] for start, end in pairwise(ends)]
