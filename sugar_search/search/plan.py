"""Everything a search needs to know, checked before any work starts."""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sugar_search import catalog
from sugar_search.data._dataset import load_dataset
from sugar_search.errors import FileError, InputError
from sugar_search.schema import load_schema
from sugar_search.search.objective import Objective, parse_objectives
from sugar_search.search.space import Space, load_space
from sugar_search.search.store import sqlite_url
from sugar_search.symbolic.surrogate import Surrogate, surrogate
from sugar_search.training.recipe import Recipe, load_recipe

__all__ = [
    "ENGINES",
    "PAPER_SEEDS",
    "Plan",
    "build_plan",
    "fresh_seeds",
    "load_baselines",
    "parse_duration",
    "run_seeds",
]

ENGINES = ("local", "ray")

# Appendix B: "5 independent runs per configuration with seeds [1, 10, 20, 25, 42]".
PAPER_SEEDS = (1, 10, 20, 25, 42)

# Far beyond the seeds of any search (see `preflight.MAX_REPEATS`).
FIRST_FRESH_SEED = 10_001

DEFAULT_TRIALS = 50
MAX_DEFAULT_WORKERS = 8

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Plan:
    """One sitting of a study.

    Attributes:
        name: the study's name.
        folder: its results folder.
        url: its Optuna storage.
        arch, dataset, recipe, space, objectives, seed, threads: what identifies the study.
        sampler: how proposals are made.
        trials: proposals wanted in the whole study, or None for no limit.
        time_budget: seconds for this sitting, or None.
        repeats: seeds per baseline, and per proposal that stays in the race.
        confirm: fresh seeds per finalist; 0 skips the confirmation.
        baselines: the paper's surrogates, ReLU among them; empty when not wanted.
        engine, workers: where runs execute; 0 workers means in this process (local engine only).
        gpus: GPUs per trial, 0 for the CPU.
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
    baselines: tuple[Surrogate, ...]
    engine: str
    workers: int
    gpus: float

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two studies the same one; a study with another identity is never continued."""
        return {
            "arch": self.arch,
            "dataset": self.dataset,
            "recipe": f"{self.recipe_name} ({self.recipe.epochs} epochs, {self.recipe.digest[:8]})",
            "space": f"{self.space.name} ({self.space.digest[:8]})",
            "objective": ",".join(o.name for o in self.objectives),
            "seed": self.seed,
            "threads per trial": self.threads,
        }


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
    storage: str | None = None,
    study: str | None = None,
    out: Path = Path("results"),
    baselines: bool = True,
) -> Plan:
    """A plan from a user's options; names are resolved and files read, nothing is written.

    Args:
        arch: a catalog name.
        dataset: a catalog name, with "/variant" where there are any.
        space: a catalog name or a .toml file.
        trials: proposals in the whole study; None means 50 without a time budget, else no limit.
        time_budget: duration of this sitting, such as "7m".
        epochs: overrides the recipe's.
        recipe: a catalog name or a .toml file; None takes the one that the dataset names.
        seed: of the sampler and of drawn splits; runs have their own seeds.
        repeats: seeds per baseline, and per proposal that stays in the race.
        confirm: fresh seeds per finalist; 0 skips the confirmation.
        sampler: a name in `sampler.SAMPLERS`.
        objective: comma-separated names; None takes the recipe's selection metric.
        engine: a name in `ENGINES`.
        workers: None takes one per CPU core and thread, or per share of a GPU.
        threads: CPU threads per trial.
        gpus: GPUs per trial; None takes one when there is one.
        storage: an Optuna storage URL; None keeps SQLite in the results folder.
        study: the study's name; None derives it from the identity.
        out: the folder that holds results folders.
        baselines: whether the paper's surrogates are trained first.

    Raises:
        InputError: an option breaks a rule (see also `preflight`).
    """
    arch = catalog.resolve("archs", arch)
    dataset = load_dataset(dataset).name
    if recipe is None:
        recipe = catalog.load_module("datasets", dataset.partition("/")[0]).RECIPE
    elif not recipe.endswith(".toml"):
        recipe = catalog.resolve("recipes", recipe)
    loaded = load_recipe(recipe, epochs=epochs)
    if gpus is None:
        gpus = 1.0 if _gpu_count() else 0.0
    plan = Plan(
        name="",
        folder=out,
        url="",
        arch=arch,
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
        baselines=load_baselines() if baselines else (),
        engine=engine,
        workers=_default_workers(threads, gpus) if workers is None else workers,
        gpus=gpus,
    )
    name = _default_name(plan) if study is None else study
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise InputError("--study must be a plain name (letters, digits, . _ -)", name, "choose such a name")
    return replace(plan, name=name, folder=out / name, url=sqlite_url(out / name) if storage is None else storage)


def _default_name(plan: Plan) -> str:
    digest = hashlib.sha256(json.dumps(plan.identity, sort_keys=True).encode()).hexdigest()[:8]
    return f"{plan.arch}-{plan.dataset.replace('/', '-')}-{digest}"


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def _default_workers(threads: int, gpus: float) -> int:
    if gpus > 0:
        return max(1, int(_gpu_count() / gpus))
    return max(1, min(MAX_DEFAULT_WORKERS, (os.cpu_count() or 1) // max(1, threads)))


class _Trial(BaseModel):
    model_config = ConfigDict(extra="forbid")
    surrogate: str
    parameters: Mapping[str, float] = Field(default_factory=dict)


class _Pinned(BaseModel):
    model_config = ConfigDict(extra="forbid")
    description: str
    trial: tuple[_Trial, ...] = Field(min_length=1)


def load_baselines(name: str = "paper") -> tuple[Surrogate, ...]:
    """The pinned trials of `trials/<name>.toml`, in the file's order.

    Raises:
        FileError: the file breaks its schema or names a surrogate that does not exist.
    """
    path = catalog.find("trials")[catalog.resolve("trials", name)]
    pinned = load_schema(path, _Pinned)
    found, faults = [], []
    for index, trial in enumerate(pinned.trial):
        try:
            found.append(surrogate(trial.surrogate, **trial.parameters))
        except InputError as error:
            faults.append(f"trial.{index}: {error}")
    if faults:
        raise FileError(
            f"{path} must name surrogates ({'; '.join(faults)})", f"{len(faults)} fault(s)", "mend the trials named"
        )
    return tuple(found)
