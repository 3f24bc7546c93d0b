"""Pinned trials: what `trials/*.toml` says is trained, and what the paper published for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sugar_search import catalog
from sugar_search.errors import FileError, InputError
from sugar_search.schema import load_schema
from sugar_search.symbolic.surrogate import Surrogate, surrogate

__all__ = ["Entry", "PinnedStudy", "Table", "load_baselines", "load_table", "tables"]

Published = Annotated[tuple[float, float], Field(strict=False)]


@dataclass(frozen=True)
class Entry:
    """One configuration to train.

    Attributes:
        surrogate: which surrogate.
        sugar: True for ReLU forward and the surrogate backward; False for the surrogate's own activation both ways.
        published: mean and standard deviation of the paper's accuracy in percent, where it printed them.
    """

    surrogate: Surrogate
    sugar: bool = True
    published: tuple[float, float] | None = None

    @property
    def key(self) -> tuple[str, bool]:
        """What is trained, as `TrialRecord.key` has it."""
        return self.surrogate.canonical, self.sugar


@dataclass(frozen=True)
class PinnedStudy:
    """One architecture on one dataset, as the paper trained it.

    Attributes:
        arch, dataset, recipe: names of the catalog.
        epochs: the paper's number.
        validation: how the paper selects an epoch: "test" where it has no validation set, None as the recipe says.
        entries: what is trained, ReLU first.
    """

    arch: str
    dataset: str
    recipe: str
    epochs: int
    validation: Literal["test"] | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Table:
    """A table of the paper: its name, seeds and studies."""

    name: str
    description: str
    seeds: tuple[int, ...]
    studies: tuple[PinnedStudy, ...]


class _Trial(BaseModel):
    model_config = ConfigDict(extra="forbid")
    surrogate: str
    parameters: Mapping[str, float] = Field(default_factory=dict)
    sugar: bool = True
    published: Published | None = None


class _Study(BaseModel):
    model_config = ConfigDict(extra="forbid")
    arch: str
    dataset: str
    recipe: str
    epochs: int = Field(ge=1)
    validation: Literal["test"] | None = None
    trial: tuple[_Trial, ...] = Field(min_length=1)


class _Pinned(BaseModel):
    model_config = ConfigDict(extra="forbid")
    description: str
    source: str = ""
    seeds: tuple[int, ...] = ()
    trial: tuple[_Trial, ...] = ()
    study: tuple[_Study, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> "_Pinned":
        if bool(self.trial) == bool(self.study):
            raise ValueError("must hold either [[trial]] (for every study) or [[study]] (a table of the paper)")
        if self.study and not self.seeds:
            raise ValueError("a table of the paper needs seeds")
        return self


def load_baselines(name: str = "paper") -> tuple[Surrogate, ...]:
    """The surrogates of `trials/<name>.toml`, in the file's order.

    Raises:
        FileError: the file breaks its schema or names a surrogate that does not exist.
    """
    path, pinned = _read(name)
    return tuple(entry.surrogate for entry in _entries(path, pinned.trial, "trial"))


def tables() -> tuple[str, ...]:
    """Names of the files that hold a table of the paper."""
    return tuple(name for name in catalog.names("trials") if "study" in catalog.load_toml(catalog.find("trials")[name]))


def load_table(name: str) -> Table:
    """The table of the paper in `trials/<name>.toml`.

    Raises:
        UnknownNameError: there is no such file.
        FileError: the file breaks its schema, or names a part that does not exist.
    """
    path, pinned = _read(name)
    studies = []
    for index, study in enumerate(pinned.study):
        entries = _entries(path, study.trial, f"study.{index}.trial")
        studies.append(PinnedStudy(study.arch, study.dataset, study.recipe, study.epochs, study.validation, entries))
    return Table(path.stem, pinned.description, pinned.seeds, tuple(studies))


def _read(name: str) -> tuple[Path, _Pinned]:
    path = catalog.find("trials")[catalog.resolve("trials", name)]
    return path, load_schema(path, _Pinned)


def _entries(path: Path, trials: Sequence[_Trial], place: str) -> tuple[Entry, ...]:
    found, faults = [], []
    for index, trial in enumerate(trials):
        try:
            found.append(Entry(surrogate(trial.surrogate, **trial.parameters), trial.sugar, trial.published))
        except InputError as error:
            faults.append(f"{place}.{index}: {error}")
    if faults:
        rule = f"{path} must name surrogates ({'; '.join(faults)})"
        raise FileError(rule, f"{len(faults)} fault(s)", "mend the trials named")
    return tuple(found)
