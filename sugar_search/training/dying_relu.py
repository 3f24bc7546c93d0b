"""The dying-ReLU study of the paper's Appendix A: which share of narrow networks collapses, by method and function.

The loss that sorts a run is its training loss of the last epoch, in the unit of Table 3: squared error summed over a
batch and its outputs, averaged over the batches. All runs of a function share one data set and one population.

A loss between the paper's ranges goes to the category whose range is nearest by ratio: the border between two ranges is
the geometric mean of their facing ends. A run that diverged is in no category, and counts among the runs.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sugar_search import catalog
from sugar_search.errors import DivergedError, InputError
from sugar_search.schema import load_schema
from sugar_search.symbolic.surrogate import Surrogate, surrogate
from sugar_search.training.checkpoint import write_atomically
from sugar_search.training.population.train import train_population
from sugar_search.training.recipe import Recipe, load_recipe
from sugar_search.training.run import EpochRecord, RunSpec

__all__ = ["CATEGORIES", "Method", "Result", "Run", "Study", "Target", "category", "run_target", "study_of"]

CATEGORIES = ("A", "B", "C", "D")
MAX_REPEATS = 10_000

Range = Annotated[tuple[float, float], Field(strict=False)]


class Target(BaseModel):
    """What the paper printed for one function.

    Attributes:
        ranges: smallest and largest loss, by category.
        shares: percent of the runs, by method and category.
        default: whether the function is trained unless others are asked for.
    """

    model_config = ConfigDict(extra="forbid")
    ranges: Mapping[str, Range]
    shares: Mapping[str, Mapping[str, float]]
    default: bool = True


class _Published(BaseModel):
    model_config = ConfigDict(extra="forbid")
    description: str
    source: str
    arch: str
    recipe: str
    repeats: int
    targets: Mapping[str, Target]


@dataclass(frozen=True)
class Method:
    """A way to keep units alive.

    Attributes:
        name: "he", "rai", or the surrogate's title.
        init: option of the architecture.
        surrogate: None for ReLU's own derivative.
        published: its name in the paper's table, None if it is not there.
    """

    name: str
    init: str
    surrogate: Surrogate | None
    published: str | None


@dataclass(frozen=True)
class Run:
    """One network after its last epoch; `loss` is None when it diverged, with the reason."""

    method: str
    seed: int
    loss: float | None
    validation_loss: float | None
    dead: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Result:
    """All runs of one function, and the seconds of training and validation that they took together."""

    target: str
    runs: tuple[Run, ...]
    seconds: float


@dataclass(frozen=True)
class Study:
    """What is trained.

    Attributes:
        description: of the paper's table.
        targets: functions, with what the paper printed.
        methods: he, rai and the surrogates.
        arch: of the networks.
        recipe: of all runs, but for the initialisation.
        repeats: runs of each method, with the seeds 0, 1, 2 and so on.
    """

    description: str
    targets: Mapping[str, Target]
    methods: tuple[Method, ...]
    arch: str
    recipe: Recipe
    repeats: int

    def specs(self, target: str) -> list[RunSpec]:
        """All runs of one function, method by method."""
        arch, found = self.arch, []
        for method in self.methods:
            recipe = self.recipe.model_copy(update={"arch": {arch: {"init": method.init}}})
            given = None if method.surrogate is None else method.surrogate.to_dict()
            found += [RunSpec(arch, f"regression/{target}", recipe, seed, given) for seed in range(self.repeats)]
        return found

    def identity(self, target: str) -> str:
        """Twelve hexadecimal digits that name all that the runs of a function are."""
        return hashlib.sha256("".join(spec.digest for spec in self.specs(target)).encode()).hexdigest()[:12]

    def about(self) -> dict[str, Any]:
        """What identifies the study, as JSON-able values; functions may be left out or added."""
        return {
            "epochs": self.recipe.epochs,
            "repeats": self.repeats,
            "methods": [method.name for method in self.methods],
            "functions": {target: self.identity(target) for target in self.targets},
        }


def study_of(
    surrogates: Sequence[str] = (),
    *,
    epochs: int | None = None,
    repeats: int | None = None,
    targets: Sequence[str] = (),
) -> Study:
    """The study as the paper has it, or a part or variation of it.

    Args:
        surrogates: names or formulas, in place of B-SiLU(1.67).
        epochs: instead of the paper's; its milestones stay where they are.
        repeats: runs of each method, instead of the paper's 100.
        targets: names of functions, in place of f1 to f4.

    Raises:
        InputError: an argument breaks a rule.
    """
    published = load_schema(catalog.find("trials")["table2"], _Published)
    if repeats is not None and not 1 <= repeats <= MAX_REPEATS:
        raise InputError(f"--repeats must be 1 to {MAX_REPEATS:,}", repeats, "give a whole number such as 100")
    paper = surrogate("bsilu", alpha=1.67)
    methods = [Method("he", "he", None, "he"), Method("rai", "rai", None, "rai")]
    for each in [surrogate(text) for text in surrogates] or [paper]:
        methods.append(Method(each.title, "he", each, "bsilu" if each == paper else None))
    if len({method.name for method in methods}) < len(methods):
        raise InputError("each surrogate must be given once", list(surrogates), "drop the second")
    chosen = {
        name: each for name, each in published.targets.items() if name in targets or (not targets and each.default)
    }
    if unknown := [name for name in targets if name not in chosen]:
        raise InputError("a target must be a function of the study", unknown[0], "see: " + ", ".join(published.targets))
    recipe = load_recipe(published.recipe, epochs=epochs)
    return Study(
        published.description,
        chosen,
        tuple(methods),
        published.arch,
        recipe,
        published.repeats if repeats is None else repeats,
    )


def category(ranges: Mapping[str, tuple[float, float]], loss: float) -> str:
    """The category of a loss: that of the range it lies in, or of the nearest by ratio."""

    def distance(ends: tuple[float, float]) -> float:
        low, high = ends
        return max(0.0, math.log(low / max(loss, 1e-300)), math.log(max(loss, 1e-300) / high))

    return min(ranges, key=lambda name: distance(ranges[name]))


def run_target(
    study: Study,
    target: str,
    folder: Path,
    watch: Callable[[int, float], None] = lambda epoch, seconds: None,
    whole: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Result:
    """Trains all runs of a function, or goes on with them, or reads what they gave.

    An exception between two epochs, from `watch` for one, leaves a checkpoint of all runs.

    Args:
        study: what is trained.
        target: one of its functions.
        folder: keeps the results, by what the runs are, and while they run their checkpoints.
        watch: called after each epoch with its number and with the seconds so far.
        whole: makes the context in which an epoch is trained, and the last one's results written.

    Raises:
        FileError: the folder cannot be written.
    """
    path = folder / f"{target}-{study.identity(target)}.json"
    if (before := _read(path)) is not None:
        return before
    specs, on_the_way, epochs = study.specs(target), path.with_suffix(""), study.recipe.epochs
    runs: dict[int, Run] = {}
    seconds = 0.0
    with closing(train_population(specs, folder=on_the_way, keep=False)) as steps:
        for epoch in range(1, epochs + 1):
            with whole():
                step = next(steps)
                runs |= {number: _run(study, specs[number], number, said) for number, said in step.items()}
                seconds += sum(said.seconds for said in step.values() if not isinstance(said, DivergedError))
                if epoch == epochs:  # before `watch`, and before an exception at the end of the context
                    result = Result(target, tuple(runs[number] for number in sorted(runs)), seconds)
                    write_atomically(path, (json.dumps(asdict(result), allow_nan=False) + "\n").encode())
                    shutil.rmtree(on_the_way, ignore_errors=True)
            watch(epoch, seconds)
    return result


def _run(study: Study, spec: RunSpec, number: int, said: EpochRecord | DivergedError) -> Run:
    method = study.methods[number // study.repeats].name
    if isinstance(said, DivergedError):
        return Run(method, spec.seed, None, None, None, str(said))
    return Run(method, spec.seed, said.train_loss, said.validation.loss, said.validation.dead)


def _read(path: Path) -> Result | None:
    """What `run_target` wrote; None where it did not, or the file is damaged."""
    try:
        found = json.loads(path.read_bytes())
        return Result(found["target"], tuple(Run(**each) for each in found["runs"]), found["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
