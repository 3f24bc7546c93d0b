"""Images one by one with PIL, and mixed batches, as timm does them.

Every draw is seeded by the run, the epoch and the sample (or batch), so the number of loader processes and an
interruption change no bit, and the caller's generators are left alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from sugar_search.data._dataset import Split
from sugar_search.errors import InputError
from sugar_search.training.augment import Look
from sugar_search.training.recipe import Recipe
from sugar_search.training.seeds import reseed, undisturbed
from sugar_search.vision import load

__all__ = ["Samples", "mixer", "picture_transform"]

Transform = Callable[[Any], Tensor]


def picture_transform(look: Look, shape: tuple[int, ...]) -> Transform:
    """Turns a PIL image into float32 of shape (channels, height, width), normalised.

    These are timm's transforms for training on ImageNet. With a crop other than "random-resized" the first of them, the
    random-resized crop, gives way to torchvision's RandomCrop, as in ConvNeXt's code for small images, or to nothing.

    Args:
        look: with an augmentation `by_image`.
        shape: of a sample of the dataset: (channels, height, width).

    Raises:
        InputError: timm refuses the policy.
    """
    augment, mean, std = look.augment, look.mean, look.std
    assert mean is not None and std is not None
    transforms = load("torchvision.transforms")
    size = augment.seen(shape)[1:]
    try:
        # create_transform ends in this function; colour jitter can be forced only here.
        made = load("timm.data.transforms_factory").transforms_imagenet_train(
            size,
            hflip=augment.flip,
            color_jitter=augment.color_jitter,
            force_color_jitter=augment.color_jitter_forced,
            auto_augment=augment.auto_augment,
            interpolation=augment.interpolation,
            mean=tuple(mean.flatten().tolist()),
            std=tuple(std.flatten().tolist()),
            re_prob=augment.erase_probability,
            re_mode=augment.erase_mode,
            re_count=augment.erase_count,
        )
    except (AssertionError, ValueError, KeyError, IndexError) as error:
        raise InputError("auto_augment must be a policy that timm knows", augment.auto_augment, str(error)) from error
    for operation in _operations(made.transforms):
        if operation.aug_fn is load("timm.data.auto_augment").posterize:
            operation.aug_fn = _posterize
    if augment.crop != "random-resized":
        mode = transforms.InterpolationMode(augment.interpolation)
        first = [] if size == shape[1:] else [transforms.Resize(size, mode)]
        first += [transforms.RandomCrop(size, padding=augment.padding)] if augment.crop == "padded" else []
        made.transforms[:1] = first
    return made


def _operations(transforms: Iterable[Any]) -> Iterator[Any]:
    """The single operations of timm's policies: RandAugment and AugMix hold a list of them, AutoAugment lists of it."""
    for each in transforms:
        yield from getattr(each, "ops", [])
        yield from chain.from_iterable(getattr(each, "policy", []))


def _posterize(image: Any, bits: int, **_: object) -> Any:
    """timm's posterize. Strong policies ask for 0 bits, which Pillow once made black and now (13.0) refuses."""
    kept = 256 - 2 ** (8 - bits)
    return image.point([value & kept for value in range(256)] * len(image.getbands()))


class Samples(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Batches for a DataLoader: the samples of a split as they are, or each through a transform.

    Args:
        split: on the CPU.
        transform: see `picture_transform`; None: inputs stay as they are.
        seed: of the run.
        epoch: counted from 1.
    """

    def __init__(self, split: Split, transform: Transform | None, seed: int, epoch: int) -> None:
        self.split, self.transform, self.key = split, transform, (seed, epoch)

    def __len__(self) -> int:
        return len(self.split)

    def __getitems__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The batch of these rows: inputs and targets."""
        inputs, targets = self.split.take(torch.tensor(rows))
        if self.transform is None:
            return inputs, targets
        fromarray, images = load("PIL.Image").fromarray, []
        with undisturbed():
            for row, pixels in zip(rows, inputs.permute(0, 2, 3, 1).contiguous().numpy()):
                reseed(*self.key, "sample", row)
                images.append(self.transform(fromarray(pixels)))
        return torch.stack(images), targets


def mixer(recipe: Recipe, outputs: int, seed: int) -> Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]]:
    """A function of inputs, targets, epoch and number of the batch within it that mixes a batch of even size in place.

    Its targets are probabilities of shape (batch, outputs) with the recipe's label smoothing.
    """
    table = recipe.mix
    assert table is not None
    mix = load("timm.data.mixup").Mixup(
        mixup_alpha=table.mixup_alpha,
        cutmix_alpha=table.cutmix_alpha,
        prob=table.probability,
        switch_prob=table.switch_probability,
        mode=table.mode,
        label_smoothing=recipe.label_smoothing,
        num_classes=outputs,
    )

    def mixed(inputs: Tensor, targets: Tensor, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        with undisturbed():
            reseed(seed, epoch, "batch", batch)
            result: tuple[Tensor, Tensor] = mix(inputs, targets)
        return result

    return mixed
