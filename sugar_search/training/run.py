"""One run as data: what is trained, and what each epoch gave. No torch here, so that a coordinator stays light."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sugar_search.errors import InputError
from sugar_search.training.recipe import Recipe

__all__ = ["EpochRecord", "Metrics", "RunSpec", "selected"]


@dataclass(frozen=True)
class Metrics:
    """What one split says about a network.

    Attributes:
        loss: in the recipe's unit, without label smoothing.
        accuracy: share of samples classified correctly, 0 to 1; None for regression.
        sparsity: share of exact zeros among the ReLU outputs over all samples, 0 to 1.
        dead: share of ReLU units (element c, h, w of a site) without a positive output on any sample, 0 to 1.
    """

    loss: float
    accuracy: float | None
    sparsity: float
    dead: float

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Metrics":
        """The inverse of `to_dict`."""
        return cls(**data)


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Attributes:
        epoch: counted from 1.
        train_loss: of the epoch's training batches, in the recipe's unit, with label smoothing.
        validation: metrics of the validation split after the epoch.
        lr: learning rate of the epoch's last step.
        seconds: wall time of training and validation together.
        images_per_second: training samples over training time alone.
        peak_memory: bytes; on CUDA the most that torch held during the epoch, on a CPU the most that this process has
            held so far; in a population it is that of all members that step together. None where it was not measured.
    """

    epoch: int
    train_loss: float
    validation: Metrics
    lr: float
    seconds: float
    images_per_second: float
    peak_memory: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "EpochRecord":
        """The inverse of `to_dict`."""
        return cls(**{**data, "validation": Metrics.from_dict(data["validation"])})


@dataclass(frozen=True)
class RunSpec:
    """One training, as a value that crosses process borders as JSON.

    Attributes:
        arch: name of an architecture, with "/variant" where there are any, or "package.module:callable".
        dataset: name of a dataset, alike.
        recipe: how to train.
        seed: of the initial weights and of the order of the samples, 0 to 2**63 - 1.
        surrogate: `Surrogate.to_dict()`, or None for the network as it is built.
        device: a torch device: "cpu", "cuda", "cuda:1".
        threads: CPU threads of torch; part of a run's identity, for it changes the order of sums.
        folder: where checkpoints and weights live.
        sugar: True: ReLU forward and surrogate backward; False: the surrogate's own activation both ways.
        data_dir: where downloaded data lies, None for the default place; no part of a run's identity.
        loaders: worker processes that prepare images where a recipe needs them, 0 for none; they change no result.
        compile: whether the network's forward pass goes through `torch.compile`; it changes the rounding.
        sites: kinds of activation that the surrogate replaces, None for the architecture's own.

    Raises:
        InputError: seed, threads or loaders out of range.
    """

    arch: str
    dataset: str
    recipe: Recipe
    seed: int
    surrogate: dict[str, Any] | None
    device: str = "cpu"
    threads: int = 1
    folder: str = "."
    sugar: bool = True
    data_dir: str | None = None
    loaders: int = 0
    compile: bool = False
    sites: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise InputError("seed must be 0 to 2**63 - 1", self.seed, "give a whole number such as 1")
        if self.threads < 1:
            raise InputError("threads per trial must be 1 or more", self.threads, "give a whole number such as 1")
        if self.loaders < 0:
            raise InputError("loaders must be 0 or more", self.loaders, "give a whole number such as 2")

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON-able values."""
        sites = None if self.sites is None else list(self.sites)
        return {**self.__dict__, "recipe": self.recipe.model_dump(mode="json"), "sites": sites}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RunSpec":
        """The inverse of `to_dict`."""
        sites = None if data.get("sites") is None else tuple(data["sites"])
        return cls(**{**data, "recipe": Recipe.model_validate(data["recipe"]), "sites": sites})

    @property
    def digest(self) -> str:
        """Sha256 of all that a run is: not its folder, nor its device, for it may go on on another one."""
        identity = {**self.to_dict(), "folder": None, "device": None, "recipe": self.recipe.digest}
        for key in ("data_dir", "loaders"):  # where the data lies and who prepares it
            del identity[key]
        for key in ("compile", "sites"):  # absent when not set: runs of before they existed keep their digest
            if not identity[key]:
                del identity[key]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def selected(recipe: Recipe, records: Sequence[EpochRecord]) -> EpochRecord:
    """The epoch that stands for a run by the recipe's rule; among equals the earliest.

    Args:
        recipe: whose `selection` decides.
        records: the epochs finished so far, at least one.
    """
    if recipe.selection.epoch == "last":
        return records[-1]
    if recipe.selection.metric == "loss":
        return min(records, key=lambda record: record.validation.loss)
    return max(records, key=lambda record: record.validation.accuracy or 0.0)
