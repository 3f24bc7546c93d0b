"""Everything a search needs to know, checked before any work starts."""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sugar_search import catalog
from sugar_search.data._about import data_mark, default_recipe, is_natural
from sugar_search.data._load import dataset_name
from sugar_search.errors import InputError
from sugar_search.models._model import Arch, find_arch
from sugar_search.search.objective import Objective, parse_objectives
from sugar_search.search.pinned import Entry, load_baselines
from sugar_search.search.space import Space, load_space
from sugar_search.search.store import sqlite_url
from sugar_search.training.recipe import Recipe, load_recipe

__all__ = ["ENGINES", "PAPER_SEEDS", "Plan", "build_plan", "finish_plan", "fresh_seeds", "parse_duration", "run_seeds"]

ENGINES = ("local", "ray")

# Appendix B: "5 independent runs per configuration with seeds [1, 10, 20, 25, 42]".
PAPER_SEEDS = (1, 10, 20, 25, 42)

# Far beyond the seeds of any search (see `preflight.MAX_REPEATS`).
FIRST_FRESH_SEED = 10_001

DEFAULT_TRIALS = 50
MAX_DEFAULT_WORKERS = 8
MAX_DEFAULT_LOADERS = 8

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Plan:
    """One sitting of a study.

    Attributes:
        name: the study's name.
        folder: its results folder.
        url: its Optuna storage.
        arch, dataset, recipe, space, objectives, seed, threads, sites, compile: what identifies the study.
        sampler: how proposals are made.
        trials: proposals wanted in the whole study, or None for no limit.
        time_budget: seconds for this sitting, or None.
        repeats: seeds per baseline, and per proposal that stays in the race.
        confirm: fresh seeds per finalist; 0 skips the confirmation.
        baselines: what is trained first and never stopped; empty when not wanted.
        engine, workers: where runs execute; 0 workers means in this process (local engine only).
        gpus: GPUs per trial, 0 for the CPU.
        data_dir, offline: where datasets lie, and whether a missing one may not be downloaded.
        loaders: processes per run that prepare images where the recipe needs them.
        table: the table of the paper that this study belongs to: then every run reads its test metrics, as the paper's
            numbers are theirs. None in a search.
        data: stands for the user's own files in `data_dir`; None of datasets that are what they are.
        train_fn: the user's own training function in place of architecture, dataset and recipe.
    """

    name: str
    folder: Path
    url: str
    arch: str
    dataset: str
    recipe: Recipe
    recipe_name: str
    space: Space
    objectives: tuple[Objective, ...]
    seed: int
    threads: int
    sampler: str
    trials: int | None
    time_budget: float | None
    repeats: int
    confirm: int
    baselines: tuple[Entry, ...]
    engine: str
    workers: int
    gpus: float
    data_dir: Path | None = None
    offline: bool = False
    loaders: int = 0
    compile: bool = False
    sites: tuple[str, ...] | None = None
    table: str | None = None
    data: str | None = None
    train_fn: Callable[..., float] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two studies the same one; a study with another identity is never continued."""
        every = {
            "arch": self.arch,
            "dataset": self.dataset,
            "recipe": f"{self.recipe_name} ({self.recipe.epochs} epochs, {self.recipe.digest[:8]})",
            # A table of the paper proposes nothing.
            "space": None if self.table else f"{self.space.name} ({self.space.digest[:8]})",
            "objective": ",".join(o.name for o in self.objectives),
            "seed": self.seed,
            "threads per trial": self.threads,
            "sites": None if self.sites is None else ",".join(self.sites),
            "compile": self.compile or None,
            "table": self.table,
            "data": self.data,
        }
        return {key: value for key, value in every.items() if value is not None}


def parse_duration(text: str) -> float:
    """Seconds from "90", "90s", "7m", "1h30m" or "2d".

    Raises:
        InputError: not a positive duration.
    """
    compact = text.strip().lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", compact)
    total = sum(float(number) * UNITS[unit or "s"] for number, unit in parts)
    if "".join(n + u for n, u in parts) != compact or not 0 < total < math.inf:
        raise InputError("--time-budget must be a positive duration", text, "write it as 90s, 7m or 1h30m")
    return total


def run_seeds(repeats: int) -> tuple[int, ...]:
    """The first `repeats` seeds: the paper's list, then 43, 44, ..."""
    extra = max(0, repeats - len(PAPER_SEEDS))
    return PAPER_SEEDS[:repeats] + tuple(range(PAPER_SEEDS[-1] + 1, PAPER_SEEDS[-1] + 1 + extra))


def fresh_seeds(confirm: int) -> tuple[int, ...]:
    """The `confirm` seeds on which finalists are compared; no search ever uses them, whatever its repeats."""
    return tuple(range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + confirm))


def build_plan(
    *,
    arch: str,
    dataset: str,
    space: str = "mixed",
    trials: int | None = None,
    time_budget: str | None = None,
    epochs: int | None = None,
    recipe: str | None = None,
    seed: int = 0,
    repeats: int = 1,
    confirm: int = 3,
    sampler: str = "tpe",
    objective: str | None = None,
    engine: str = "local",
    workers: int | None = None,
    threads: int = 1,
    gpus: float | None = None,
    loaders: int | None = None,
    compile: bool = False,
    sites: str | Sequence[str] | None = None,
    data_dir: Path | None = None,
    offline: bool = False,
    storage: str | None = None,
    study: str | None = None,
    out: Path = Path("results"),
    baselines: bool = True,
) -> Plan:
    """A plan from a user's options; names are resolved and files read, nothing is written.

    Args:
        arch: a catalog name, with "/variant" where there are any, or "package.module:callable".
        dataset: alike.
        space: a catalog name or a .toml file.
        trials: proposals in the whole study; None means 50 without a time budget, else no limit.
        time_budget: duration of this sitting, such as "7m".
        epochs: overrides the recipe's.
        recipe: a catalog name or a .toml file; None takes the architecture's own on photographs, else the dataset's.
        seed: of the sampler; runs have their own seeds.
        repeats: seeds per baseline, and per proposal that stays in the race.
        confirm: fresh seeds per finalist; 0 skips the confirmation.
        sampler: a name in `sampler.SAMPLERS`.
        objective: comma-separated names; None takes the recipe's selection metric.
        engine: a name in `ENGINES`.
        workers: None takes one per CPU core and thread, or per share of a GPU.
        threads: CPU threads per trial.
        gpus: GPUs per trial; None takes one when there is one.
        loaders: processes per run that prepare images, where the recipe needs them; None shares out the CPU cores.
        compile: whether networks run through `torch.compile`.
        sites: kinds of activation that are replaced, such as "gelu" or "relu,gelu"; None for the architecture's own.
        data_dir: where datasets lie and are downloaded to; None for "data".
        offline: never download.
        storage: an Optuna storage URL; None keeps SQLite in the results folder.
        study: the study's name; None derives it from the identity.
        out: the folder that holds results folders.
        baselines: whether the paper's surrogates are trained first.

    Raises:
        InputError: an option breaks a rule (see also `preflight`).
    """
    found = find_arch(arch)
    dataset = dataset_name(dataset)
    recipe = _recipe_name(recipe, found, dataset)
    loaded = load_recipe(recipe, epochs=epochs)
    if loaded.validation.split == "test":
        rule = "a search may not choose by test data, so a recipe's validation.split must be fixed or share"
        raise InputError(rule, "test", 'write split = "share" and share = 0.1')
    if gpus is None:
        gpus = 1.0 if _gpu_count() else 0.0
    workers = _default_workers(threads, gpus) if workers is None else workers
    plan = Plan(
        name="",
        folder=out,
        url="",
        arch=found.name,
        dataset=dataset,
        recipe=loaded,
        recipe_name=Path(recipe).stem,
        space=load_space(space),
        objectives=parse_objectives(loaded.selection.metric if objective is None else objective),
        seed=seed,
        threads=threads,
        sampler=sampler,
        trials=DEFAULT_TRIALS if trials is None and time_budget is None else trials,
        time_budget=None if time_budget is None else parse_duration(time_budget),
        repeats=repeats,
        confirm=confirm,
        baselines=tuple(map(Entry, load_baselines())) if baselines else (),
        engine=engine,
        workers=workers,
        gpus=gpus,
        data_dir=data_dir,
        offline=offline,
        loaders=_default_loaders(workers, threads) if loaders is None else loaders,
        compile=compile,
        sites=_sites(sites, found),
        data=data_mark(dataset, data_dir),
    )
    return finish_plan(plan, study, storage, out)


def finish_plan(plan: Plan, study: str | None, storage: str | None, out: Path) -> Plan:
    """`plan` with its name, folder and storage.

    Raises:
        InputError: `study` is no plain name.
    """
    name = _default_name(plan) if study is None else study
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise InputError("--study must be a plain name (letters, digits, . _ -)", name, "choose such a name")
    return replace(plan, name=name, folder=out / name, url=sqlite_url(out / name) if storage is None else storage)


def _recipe_name(recipe: str | None, arch: Arch, dataset: str) -> str:
    """The recipe's name or file. A network's own recipe is made for photographs; other data has a recipe of its own."""
    if recipe is None:
        own = arch.recipe if is_natural(dataset) else None
        return own or default_recipe(dataset)
    return recipe if recipe.endswith(".toml") else catalog.resolve("recipes", recipe)


def _sites(sites: str | Sequence[str] | None, arch: Arch) -> tuple[str, ...] | None:
    """The kinds in one spelling and order; None where they are the architecture's own: one choice, one study."""
    if sites is None:
        return None
    names = sites.split(",") if isinstance(sites, str) else sites
    kinds = tuple(sorted({catalog.normal(name) for name in names}))
    return None if kinds == tuple(sorted(arch.sites)) else kinds


def _default_name(plan: Plan) -> str:
    digest = hashlib.sha256(json.dumps(plan.identity, sort_keys=True).encode()).hexdigest()[:8]
    words = [plan.table, plan.arch, plan.dataset, digest]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(filter(None, words)))[-80:].lstrip("._-")


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def _default_workers(threads: int, gpus: float) -> int:
    if gpus > 0:
        return max(1, int(_gpu_count() / gpus))
    return max(1, min(MAX_DEFAULT_WORKERS, _cores() // max(1, threads)))


def _default_loaders(workers: int, threads: int) -> int:
    """What a run's share of the cores leaves beside its own threads."""
    return min(MAX_DEFAULT_LOADERS, max(0, _cores() // max(1, workers) - threads))


def _cores() -> int:
    """The cores that this process may use; a container or a scheduler may have given it a part of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
