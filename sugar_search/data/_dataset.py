"""What a dataset is: splits of tensors, and what they need to be shown to a network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from sugar_search.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Dataset", "Split"]

SPLIT_STREAM = 5  # keeps the draw of a validation split apart from other draws with the same seed


@dataclass(frozen=True, eq=False)
class Split:
    """Samples that are used together. Several splits may share one pair of tensors, each with rows of its own.

    Attributes:
        inputs: float32 of shape (samples, *input_shape), as a network takes them; or uint8 images of shape
            (samples, channels, height, width), possibly memory-mapped from a file.
        targets: int64 class numbers of shape (samples,), or float32 of shape (samples, outputs).
        rows: int64, the rows of `inputs` and `targets` that belong to the split; None: all of them.
    """

    inputs: "Tensor"
    targets: "Tensor"
    rows: "Tensor | None" = None

    def __len__(self) -> int:
        return len(self.inputs if self.rows is None else self.rows)

    def take(self, index: "Tensor") -> "tuple[Tensor, Tensor]":
        """Inputs and targets of some samples, copied; nothing waits for the device.

        Args:
            index: int64 of shape (batch,), positions within the split, on the device of `inputs`.
        """
        rows = index if self.rows is None else self.rows.index_select(0, index)
        return self.inputs.index_select(0, rows), self.targets.index_select(0, rows)

    def to(self, device: "str | torch.device") -> "Split":
        """The same split on `device`; itself when it is there."""
        return _moved(self, _mover(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Splits held as tensors.

    Attributes:
        name: a text that `load_dataset` takes, such as "digits/32".
        task: "classification" or "regression".
        outputs: number of classes, or of target dimensions.
        train: what the weights are fitted to.
        validation: what every choice is made on; None: a recipe cuts it out of `train`.
        test: read once, for finalists.
        mean: per channel, of images scaled to 0..1; None: inputs are used as they are.
        std: per channel, as `mean`.
    """

    name: str
    task: Literal["classification", "regression"]
    outputs: int
    train: Split
    validation: Split | None
    test: Split
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch: (channels, height, width) for images."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def is_images(self) -> bool:
        """Whether inputs are bytes (uint8 images) that must be scaled and normalised before a network takes them."""
        return str(self.train.inputs.dtype) == "torch.uint8"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors; what splits share counts once."""
        unique = {_identity(each): each.nbytes for split in self._splits() for each in _tensors(split)}
        return sum(unique.values())

    def to(self, device: "str | torch.device") -> "Dataset":
        """The same dataset on `device`: what splits share is copied once, and not at all when it is there."""
        mover = _mover(device)
        validation = None if self.validation is None else _moved(self.validation, mover)
        return replace(self, train=_moved(self.train, mover), validation=validation, test=_moved(self.test, mover))

    def with_validation(self, share: float, seed: int) -> "Dataset":
        """The same dataset with a validation split drawn at random from `train`; one it brings is then unused.

        Nothing is copied: both splits name rows, in ascending order, of the tensors that `train` had.

        Args:
            share: of the training samples, above 0 and below 1, rounded to whole samples and at least one.
            seed: of the draw; the same seed gives the same rows.

        Raises:
            InputError: no such share can be cut, or the seed is negative.
        """
        import torch

        if not 0 < share < 1:
            raise InputError("the validation share must be above 0 and below 1", share, "give a share such as 0.1")
        if seed < 0:
            raise InputError("the seed of the validation split must be 0 or more", seed, "give a seed such as 0")
        samples = len(self.train)
        if samples < 2:
            raise InputError("a validation split needs two training samples", samples, "give more data")
        size = min(max(round(share * samples), 1), samples - 1)
        order = np.random.default_rng((seed, SPLIT_STREAM)).permutation(samples)
        device = self.train.inputs.device
        parts = (torch.from_numpy(np.sort(part)).to(device) for part in (order[size:], order[:size]))
        if (own := self.train.rows) is not None:
            parts = (own.index_select(0, part) for part in parts)
        train, validation = (Split(self.train.inputs, self.train.targets, rows) for rows in parts)
        return replace(self, train=train, validation=validation)

    def _splits(self) -> tuple[Split, ...]:
        return tuple(split for split in (self.train, self.validation, self.test) if split is not None)


def _tensors(split: Split) -> "tuple[Tensor, ...]":
    return (split.inputs, split.targets) if split.rows is None else (split.inputs, split.targets, split.rows)


def _identity(tensor: "Tensor") -> tuple[object, ...]:
    """Equal for tensors that show the same memory in the same way."""
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _mover(device: "str | torch.device") -> "Callable[[Tensor], Tensor]":
    """A function that brings tensors to `device`, each memory once."""
    moved: dict[tuple[object, ...], Tensor] = {}

    def move(tensor: "Tensor") -> "Tensor":
        key = _identity(tensor)
        if key not in moved:
            moved[key] = tensor.to(device)
        return moved[key]

    return move


def _moved(split: Split, move: "Callable[[Tensor], Tensor]") -> Split:
    tensors = _tensors(split)
    moved = tuple(map(move, tensors))
    return split if all(a is b for a, b in zip(tensors, moved)) else Split(*moved)
