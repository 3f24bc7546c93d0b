"""The dying-ReLU study of the paper's Appendix A: which share of narrow networks collapses, by method and function.

The loss that sorts a run is its training loss of the last epoch, in the unit of Table 3: squared error summed over a
batch and its outputs, averaged over the batches. `dying_runs` trains them.

A loss between the paper's ranges goes to the category whose range is nearest by ratio: the border between two ranges is
the geometric mean of their facing ends. A run that diverged is in no category, and counts among the runs.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sugar_search import catalog
from sugar_search.errors import InputError
from sugar_search.schema import load_schema
from sugar_search.symbolic.surrogate import Surrogate, surrogate
from sugar_search.training.recipe import Recipe, load_recipe
from sugar_search.training.run import RunSpec

__all__ = ["CATEGORIES", "Method", "Result", "Run", "Study", "Target", "category", "study_of"]

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
    """Runs of one function, method by method, and the seconds of training and validation that they took together."""

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

    def specs(self, target: str, method: Method) -> list[RunSpec]:
        """The runs of one function by one method."""
        recipe = self.recipe.model_copy(update={"arch": {self.arch: {"init": method.init}}})
        given = None if method.surrogate is None else method.surrogate.to_dict()
        return [RunSpec(self.arch, f"regression/{target}", recipe, seed, given) for seed in range(self.repeats)]

    def identity(self, target: str, method: Method) -> str:
        """Twelve hexadecimal digits that name all that the runs of a function by a method are."""
        return hashlib.sha256("".join(spec.digest for spec in self.specs(target, method)).encode()).hexdigest()[:12]

    def about(self) -> dict[str, Any]:
        """What identifies the study, as JSON-able values; functions and surrogates may be left out or added."""
        surrogates = {each.name: each.surrogate.to_dict() for each in self.methods if each.surrogate is not None}
        return {"recipe": self.recipe.digest, "epochs": self.recipe.epochs, "repeats": self.repeats} | {
            "functions": list(self.targets),
            "surrogates": surrogates,
        }

    def joined(self, about: Mapping[str, Any]) -> "Study":
        """The same study with the functions and surrogates of another, which come first.

        Args:
            about: what `about` said of the other.

        Raises:
            KeyError, TypeError, ValueError: it is not of `about`.
        """
        others = study_of(targets=about["functions"]).targets if about["functions"] else {}
        given = [(name, Surrogate.from_dict(each)) for name, each in about["surrogates"].items()]
        methods = {name: _method(name, each) for name, each in given} | {each.name: each for each in self.methods}
        apart = [each for each in self.methods if each.surrogate is None]
        rest = [each for each in methods.values() if each.surrogate is not None]
        return replace(self, targets={**others, **self.targets}, methods=(*apart, *rest))


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
    given = [surrogate(text) for text in surrogates] or [_paper()]
    methods = [Method("he", "he", None, "he"), Method("rai", "rai", None, "rai")]
    methods += [_method(each.title, each) for each in given]
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


def _paper() -> Surrogate:
    return surrogate("bsilu", alpha=1.67)


def _method(name: str, given: Surrogate) -> Method:
    return Method(name, "he", given, "bsilu" if given == _paper() else None)


def category(ranges: Mapping[str, tuple[float, float]], loss: float) -> str:
    """The category of a loss: that of the range it lies in, or of the nearest by ratio."""

    def distance(ends: tuple[float, float]) -> float:
        low, high = ends
        return max(0.0, math.log(low / max(loss, 1e-300)), math.log(max(loss, 1e-300) / high))

    return min(ranges, key=lambda name: distance(ranges[name]))
