"""Makes a population: members, their networks as a solo run initialises them; or takes them up again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from sugar_search.data._dataset import Dataset, Split
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate
from sugar_search.training.augment import look_of
from sugar_search.training.network import build_network, device_of, forked_random, load_data
from sugar_search.training.population import store
from sugar_search.training.population.block import Member, new_tensors
from sugar_search.training.population.layout import Layout, layout_of
from sugar_search.training.population.members import Population
from sugar_search.training.population.servable import check_alike, servable
from sugar_search.training.run import RunSpec
from sugar_search.training.state import finished

__all__ = ["begin"]


def begin(specs: Sequence[RunSpec], folder: Path | None, *, keep: bool) -> Population:
    """A population whose members are new, or as their checkpoints hold them; arguments as in `train_population`.

    Raises:
        InputError: the runs cannot train in one batch, or an option of theirs breaks a rule.
        FileError: a folder cannot be read.
    """
    check_alike(specs, apart=keep)
    # They are alike but for these two, and for the seed.
    for spec in {(str(spec.recipe.arch), spec.surrogate is None): spec for spec in specs}.values():
        if (reason := servable(spec)) is not None:
            raise InputError("runs must be servable to train in a batch", reason, "train them with loop.train")
    complete = {number: history for number, spec in enumerate(specs) if keep and (history := finished(spec))}
    left = {number: spec for number, spec in enumerate(specs) if number not in complete}
    if not left:
        return Population(complete)
    first = next(iter(left.values()))
    if (device := device_of(first)).type == "cuda":
        torch.cuda.set_device(device)  # else whatever names no GPU would wake the first one as well
    data = load_data(first)
    assert data.validation is not None
    network = _network(first, data)
    layout = layout_of(network, separate=not first.recipe.optimizer.decay_one_dimensional)
    shown = (data.train, data.validation, look_of(first.recipe.augment, data, device))
    population = Population(complete, layout, shown, network, keep=keep, folder=None if keep else folder)
    _fill(population, layout, left, data)
    return population


def _fill(population: Population, layout: Layout, specs: dict[int, RunSpec], data: Dataset) -> None:
    """Puts the runs that are not complete into a population, each after the epochs that it has."""
    surrogates = {str(spec.surrogate): spec.surrogate for spec in specs.values()}
    made = {key: None if each is None else Surrogate.from_dict(each) for key, each in surrogates.items()}
    for (number, spec), saved in zip(specs.items(), _saved(population, layout, specs), strict=True):
        member = _member(number, spec, made[str(spec.surrogate)])
        population.members.append(member)
        if saved is None:
            population.add(member, new_tensors(layout, spec, _network(spec, data)))
            continue
        member.history[:] = saved.history
        if saved.diverged is None:
            population.add(member, saved.tensors)
        else:
            population.ended[number] = saved.diverged


def _saved(population: Population, layout: Layout, specs: dict[int, RunSpec]) -> list[store.Saved | None]:
    """What is on disk of each run."""
    if population.keep:
        return [store.load(spec, layout) for spec in specs.values()]
    found = None if population.folder is None else store.load_all(population.folder, list(specs.values()), layout)
    return [None] * len(specs) if found is None else [*found]


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
