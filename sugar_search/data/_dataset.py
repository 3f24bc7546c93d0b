"""What a dataset is, and how one is loaded by name."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sugar_search import catalog
from sugar_search.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Dataset", "Split", "load_dataset"]


@dataclass(frozen=True, eq=False)
class Split:
    """Samples that are used together.

    Attributes:
        inputs: float32, shape (samples, *input_shape).
        targets: int64 class numbers of shape (samples,), or float32 of shape (samples, outputs).
    """

    inputs: "Tensor"
    targets: "Tensor"

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: "str | torch.device") -> "Split":
        """The same split on `device`."""
        return Split(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three disjoint splits held as tensors.

    Attributes:
        name: the catalog's name with its variant, such as "digits/32".
        task: "classification" or "regression".
        outputs: number of classes, or of target dimensions.
        train: what the weights are fitted to.
        validation: what every choice is made on.
        test: read once, for finalists.
    """

    name: str
    task: Literal["classification", "regression"]
    outputs: int
    train: Split
    validation: Split
    test: Split

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch."""
        return tuple(self.train.inputs.shape[1:])

    def to(self, device: "str | torch.device") -> "Dataset":
        """The same dataset on `device`."""
        train, validation, test = (split.to(device) for split in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test)


def load_dataset(text: str, *, seed: int = 0, data_dir: Path | None = None) -> Dataset:
    """The dataset that `text` names, on the CPU; the same object again within one process.

    Args:
        text: a name of `sugar-search list datasets`, with "/variant" where there are any: "digits", "regression/f2".
        seed: for datasets that draw their splits; a fixed split ignores it.
        data_dir: where downloaded files live; datasets that bring their data ignore it.

    Raises:
        UnknownNameError: there is no such dataset or variant.
        InputError: the dataset has no variants.
    """
    name, slash, wanted = text.partition("/")
    name = catalog.resolve("datasets", name)
    variants: tuple[str, ...] = catalog.load_module("datasets", name).VARIANTS
    if not slash:
        return _load(name, None, seed, data_dir)
    if not variants:
        raise InputError(f"dataset {name} has no variants", text, f"give {name}")
    for variant in variants:
        if catalog.normal(variant) == catalog.normal(wanted):
            return _load(name, variant, seed, data_dir)
    raise UnknownNameError.of("dataset", text, [f"{name}/{variant}" for variant in variants])


@cache
def _load(name: str, variant: str | None, seed: int, data_dir: Path | None) -> Dataset:
    """Loaded once per process: a worker trains many runs on one dataset."""
    return catalog.load_module("datasets", name).load(variant, seed=seed, data_dir=data_dir)
