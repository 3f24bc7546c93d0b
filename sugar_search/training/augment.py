"""Images a batch at a time on their device: to float, normalised, resized, shifted, flipped.

Nothing here waits for the device, and the random numbers are drawn for a whole epoch at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sugar_search.data._dataset import Dataset
from sugar_search.errors import InputError
from sugar_search.training.recipe_parts import Augment

__all__ = ["Look", "Moves", "draw_moves", "evaluated", "look_of", "moved", "normalised", "on_device"]

# timm.data.IMAGENET_DEFAULT_MEAN and _STD, of images scaled to 0..1.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, eq=False)
class Look:
    """How samples must look to the network.

    Attributes:
        augment: the recipe's table.
        device: where the network is.
        layout: memory format of image batches.
        mean: float32 of shape (channels, 1, 1) on the device, of images scaled to 0..1; None: inputs are used as they
            are.
        std: as `mean`.
    """

    augment: Augment
    device: torch.device
    layout: torch.memory_format
    mean: Tensor | None
    std: Tensor | None


@dataclass(frozen=True, eq=False)
class Moves:
    """Random numbers of one epoch, one per sample in the order of training, on the device; None where not asked for.

    Attributes:
        top: int64, row of the padded image where the window begins.
        left: int64, column, alike.
        flip: bool.
    """

    top: Tensor | None
    left: Tensor | None
    flip: Tensor | None


def look_of(augment: Augment, data: Dataset, device: torch.device) -> Look:
    """The look of a dataset's samples under a recipe's table.

    Raises:
        InputError: the table asks for what the samples are not.
    """
    shape, statistics = data.input_shape, None
    asks = augment.by_image or augment.resize or augment.crop != "none" or augment.flip
    if asks and len(shape) != 3:
        raise InputError("augmentation needs images (channels, height, width)", shape, "choose another recipe")
    if augment.by_image and not (data.is_images and shape[0] == 3):
        rule = "random-resized crops, auto_augment, color_jitter and erasing need uint8 images of 3 channels"
        raise InputError(rule, f"{data.train.inputs.dtype} {shape}", "choose another recipe")
    if data.is_images:
        statistics = IMAGENET if augment.normalize == "imagenet" else (data.mean, data.std)
        if statistics[0] is None or statistics[1] is None:
            raise InputError('normalize = "dataset" needs a dataset with mean and std', data.name, 'take "imagenet"')
        if len(statistics[0]) != shape[0]:
            rule = f"normalize = {augment.normalize} has {len(statistics[0])} channels, so must the images"
            raise InputError(rule, shape, 'take normalize = "dataset"')
    mean = std = None
    if statistics is not None:
        mean, std = (torch.tensor(each, device=device).view(-1, 1, 1) for each in statistics)
    layout = torch.channels_last if device.type == "cuda" and len(shape) == 3 else torch.contiguous_format
    return Look(augment, device, layout, mean, std)


def on_device(look: Look, inputs: Tensor) -> Tensor:
    """A batch moved to the device as it is (bytes are a quarter of floats); pinned memory is not waited for."""
    return inputs.to(look.device, non_blocking=True)


def normalised(look: Look, inputs: Tensor) -> Tensor:
    """A batch on the device as the network takes it: float32 in its layout, mean 0 and deviation 1 per channel.

    The bits equal those of torchvision's ToTensor and Normalize.
    """
    if inputs.dim() != 4:
        return inputs.to(torch.float32)
    if look.mean is None:
        return inputs.to(torch.float32, memory_format=look.layout)
    scaled = inputs.to(torch.float32, memory_format=look.layout, copy=True).div_(255)
    return scaled.sub_(look.mean).div_(look.std)


def draw_moves(look: Look, samples: int, generator: torch.Generator) -> Moves:
    """Random windows and flips of one epoch, moved once; nothing is drawn that the table does not ask for."""
    augment, top, left, flip = look.augment, None, None, None
    if augment.crop == "padded":
        top, left = torch.randint(2 * augment.padding + 1, (2, samples), generator=generator).to(look.device)
    if augment.flip:
        flip = (torch.rand(samples, generator=generator) < augment.flip).to(look.device)
    return Moves(top, left, flip)


def moved(look: Look, inputs: Tensor, moves: Moves, part: slice) -> Tensor:
    """A batch on the device, resized, with the windows and flips of `part` of the epoch."""
    inputs = _resized(look, inputs, look.augment.resize)
    if moves.top is not None and moves.left is not None:
        height, width = inputs.shape[2:]
        padded = F.pad(inputs, [look.augment.padding] * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (batch, channels, tops, lefts, h, w)
        index = torch.arange(len(inputs), device=inputs.device)
        inputs = windows[index, :, moves.top[part], moves.left[part]]
    if moves.flip is not None:
        inputs = torch.where(moves.flip[part].view(-1, 1, 1, 1), inputs.flip(3), inputs)
    return inputs


def evaluated(look: Look, inputs: Tensor) -> Tensor:
    """A batch for evaluation, without chance: resized, centre-cropped, normalised."""
    inputs = on_device(look, inputs)
    if (side := look.augment.resize) is not None:
        larger = int(side / look.augment.evaluate_crop)
        start = (larger - side) // 2
        inputs = _resized(look, inputs, larger)[:, :, start : start + side, start : start + side]
    return normalised(look, inputs)


def _resized(look: Look, inputs: Tensor, side: int | None) -> Tensor:
    """Squares of `side` pixels; bytes become whole floats of 0 to 255, within two grey levels of PIL's."""
    if side is None or tuple(inputs.shape[2:]) == (side, side):
        return inputs
    resized, mode = inputs.float(), look.augment.interpolation
    # Rows and columns in turn, as PIL does: where bicubic overshoots, it is cut to 0 and 255 in between too.
    for size in ((inputs.shape[2], side), (side, side)):
        resized = F.interpolate(resized, size=size, mode=mode, antialias=True)
        resized = resized.add_(0.5).floor_().clamp_(0, 255) if inputs.dtype == torch.uint8 else resized
    return resized
