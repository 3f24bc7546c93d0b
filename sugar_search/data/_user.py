"""Datasets of the user's own, given as "package.module:callable".

The callable is called with those of `data_dir` (Path), `seed` (int) and `offline` (bool) that its signature names. It
returns a `Dataset`, or (train, test), or (train, validation, test), where each part is

- a `Split`,
- a pair (inputs, targets) of tensors or arrays: inputs as floats of shape (samples, ...), used as they are, or bytes
  (uint8) of shape (samples, channels, height, width), (samples, height, width, channels) or (samples, height, width),
- or a map-style torch dataset of (image, label), each image a tensor, array or PIL image; it is read once into memory.

Whole-number targets are class numbers, floats make a regression. Mean and standard deviation of bytes are those of the
training images.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sugar_search import catalog
from sugar_search.data._dataset import Dataset, Split
from sugar_search.data._pixels import mean_and_std, pixel_sums
from sugar_search.errors import InputError, SugarError

__all__ = ["load"]

SHAPES = "return a Dataset, (train, test) or (train, validation, test), each part (inputs, targets) or a torch dataset"
CHANNELS = (1, 3, 4)


def load(text: str, *, seed: int, data_dir: Path, offline: bool) -> Dataset:
    """The dataset that a user's callable gives, checked; its name is `text`.

    Raises:
        InputError: the callable cannot be imported, fails, or returns something else than the module describes.
    """
    build = catalog.load_callable(text, "dataset")
    result = _call(text, build, {"data_dir": data_dir, "seed": seed, "offline": offline})
    if isinstance(result, Dataset):
        parts = {"train": result.train, "validation": result.validation, "test": result.test}
    elif isinstance(result, tuple | list) and len(result) in (2, 3):
        names = ("train", "test") if len(result) == 2 else ("train", "validation", "test")
        parts = dict(zip(names, result))
    else:
        raise InputError(f"dataset {text} must give two or three splits", type(result).__name__, SHAPES)
    splits = {name: _split(f"{name} split of {text}", part) for name, part in parts.items() if part is not None}
    if not {"train", "test"} <= set(splits):
        raise InputError(f"dataset {text} must give train and test splits", ", ".join(splits), SHAPES)
    made = _assemble(text, splits)
    if isinstance(result, Dataset):
        made = _declared(text, result, made)
    return made


def _call(text: str, build: Callable[..., Any], offered: dict[str, Any]) -> Any:
    try:
        named = inspect.signature(build).parameters
    except (TypeError, ValueError):  # compiled callables may not tell
        named = {}
    try:
        return build(**{name: value for name, value in offered.items() if name in named})
    except SugarError:
        raise
    except Exception as error:  # the user's code may raise anything
        said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise InputError(f"dataset {text} must load", said, "mend the callable") from error


def _assemble(text: str, splits: dict[str, Split]) -> Dataset:
    train, test = splits["train"], splits["test"]
    for name, split in splits.items():
        if split.inputs.shape[1:] != train.inputs.shape[1:] or split.inputs.dtype != train.inputs.dtype:
            rule = f"inputs of the {name} split of {text} must be like those of train, {_shape(train.inputs)}"
            raise InputError(rule, _shape(split.inputs), "give all splits one shape and type")
        if split.targets.shape[1:] != train.targets.shape[1:] or split.targets.dtype != train.targets.dtype:
            rule = f"targets of the {name} split of {text} must be like those of train, {_shape(train.targets)}"
            raise InputError(rule, _shape(split.targets), "give all splits one kind of target")
    regression = train.targets.is_floating_point()
    if regression:
        outputs = train.targets.shape[1]
    else:
        outputs = 1 + max(int(split.targets.max()) for split in splits.values())
        if outputs < 2:
            raise InputError(f"dataset {text} must have two classes or more", outputs, "give labels 0, 1, ...")
    mean, std = _statistics(train)
    task = "regression" if regression else "classification"
    return Dataset(text, task, outputs, train, splits.get("validation"), test, mean, std)  # type: ignore[arg-type]


def _declared(text: str, given: Dataset, found: Dataset) -> Dataset:
    """What the user's own `Dataset` says beyond its tensors."""
    if given.task != found.task:
        raise InputError(f"targets of {text} make a {found.task}", given.task, "correct the task of the Dataset")
    if given.outputs < found.outputs or (found.task == "regression" and given.outputs != found.outputs):
        rule = f"outputs of {text} must fit its targets, which need {found.outputs}"
        raise InputError(rule, given.outputs, "correct the outputs of the Dataset")
    for name in ("mean", "std"):
        values = getattr(given, name)
        if values is not None and len(values) != given.train.inputs.shape[1]:
            rule = f"{name} of {text} must have one number per channel"
            raise InputError(rule, values, f"give {given.train.inputs.shape[1]}")
    if given.std is not None and not all(value > 0 for value in given.std):
        raise InputError(f"std of {text} must be above 0", given.std, "correct the std of the Dataset")
    mean, std = (given.mean, given.std) if given.mean is not None and given.std is not None else (found.mean, found.std)
    return replace(found, outputs=given.outputs, mean=mean, std=std)


def _statistics(train: Split) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if train.inputs.dtype != torch.uint8:
        return None, None
    images = train.inputs if train.rows is None else train.inputs[train.rows]
    return mean_and_std(pixel_sums(images.numpy()))


def _shape(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape[1:])} {str(tensor.dtype).removeprefix('torch.')}"


def _split(where: str, part: Any) -> Split:
    if isinstance(part, Split):
        inputs, targets, rows = part.inputs, part.targets, part.rows
    elif isinstance(part, tuple | list) and len(part) == 2 and all(isinstance(x, Tensor | np.ndarray) for x in part):
        (inputs, targets), rows = part, None
    elif hasattr(part, "__getitem__") and hasattr(part, "__len__") and not isinstance(part, Tensor | np.ndarray | str):
        (inputs, targets), rows = _stacked(where, part), None
    else:
        raise InputError(f"{where} must be (inputs, targets) or a torch dataset", type(part).__name__, SHAPES)
    inputs, targets = _inputs(where, inputs), _targets(where, targets)
    if len(inputs) != len(targets):
        raise InputError(f"{where} must have one target per input", f"{len(inputs)} and {len(targets)}", "mend it")
    if rows is not None and (rows.dtype != torch.int64 or rows.ndim != 1 or not _within(rows, len(inputs))):
        raise InputError(f"rows of the {where} must be int64 row numbers", _shape(rows), "mend them")
    if not len(inputs) or (rows is not None and not len(rows)):
        raise InputError(f"{where} must have samples", 0, "give at least one")
    return Split(inputs, targets, rows)


def _within(rows: Tensor, length: int) -> bool:
    return not len(rows) or (int(rows.min()) >= 0 and int(rows.max()) < length)


def _stacked(where: str, samples: Any) -> tuple[Tensor, Tensor]:
    """A map-style dataset as tensors."""
    images: list[Tensor] = []
    targets: list[Any] = []
    for i in range(len(samples)):
        try:
            image, target = samples[i]
            images.append(_sample(image))
            targets.append(torch.as_tensor(target).detach().cpu())
        except Exception as error:  # the user's code may raise anything
            said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            raise InputError(f"sample {i} of the {where} must be (image, label)", said, "mend the dataset") from error
        if images[i].shape != images[0].shape or images[i].dtype != images[0].dtype:
            rule = f"samples of the {where} must have one shape and type, {tuple(images[0].shape)}"
            raise InputError(rule, f"{tuple(images[i].shape)} at sample {i}", "resize them in the dataset")
        if targets[i].shape != targets[0].shape or targets[i].is_floating_point() != targets[0].is_floating_point():
            rule = f"labels of the {where} must have one shape and type, {tuple(targets[0].shape)}"
            raise InputError(rule, f"{tuple(targets[i].shape)} at sample {i}", "mend the dataset")
    if not images:
        raise InputError(f"{where} must have samples", 0, "give at least one")
    return torch.stack(images), torch.stack(targets)


def _sample(image: Any) -> Tensor:
    if isinstance(image, Tensor):
        return image.detach().cpu()
    if hasattr(image, "convert") and hasattr(image, "getbands"):  # a PIL image
        image = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    array = np.asarray(image)
    if array.dtype == np.uint8 and array.ndim == 3 and _channels_last(array.shape):
        array = array.transpose(2, 0, 1)
    if array.dtype == np.uint8 and array.ndim == 2:
        array = array[None]
    return torch.from_numpy(np.array(array))  # a copy: an image's buffer may be read-only


def _channels_last(shape: tuple[int, ...]) -> bool:
    return shape[-1] in CHANNELS and shape[-3] not in CHANNELS


def _inputs(where: str, values: Any) -> Tensor:
    tensor = _tensor(where, "inputs", values)
    if tensor.dtype == torch.uint8:
        if tensor.ndim == 3:
            tensor = tensor.unsqueeze(1)
        if tensor.ndim != 4:
            rule = f"bytes of the {where} must be images (samples, channels, height, width)"
            raise InputError(rule, tuple(tensor.shape), "give them this shape, or floats")
        return tensor.permute(0, 3, 1, 2).contiguous() if _channels_last(tuple(tensor.shape)) else tensor
    if not tensor.is_floating_point():
        raise InputError(f"inputs of the {where} must be floats or bytes (uint8)", str(tensor.dtype), "convert them")
    if tensor.ndim < 2:
        raise InputError(f"inputs of the {where} must be (samples, ...)", tuple(tensor.shape), "add a dimension")
    return _finite(where, "inputs", tensor.to(torch.float32))


def _targets(where: str, values: Any) -> Tensor:
    tensor = _tensor(where, "targets", values)
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
        tensor = tensor.unsqueeze(1) if tensor.ndim == 1 else tensor
        if tensor.ndim != 2:
            raise InputError(f"targets of the {where} must be (samples, outputs)", tuple(tensor.shape), "reshape them")
        return _finite(where, "targets", tensor)
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise InputError(f"targets of the {where} must be whole numbers or floats", str(tensor.dtype), "convert them")
    if tensor.ndim != 1:
        raise InputError(f"labels of the {where} must be (samples,)", tuple(tensor.shape), "give class numbers")
    tensor = tensor.to(torch.int64)
    if len(tensor) and int(tensor.min()) < 0:
        raise InputError(f"labels of the {where} must be 0 or more", int(tensor.min()), "number the classes from 0")
    return tensor


def _tensor(where: str, what: str, values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        # Shared where torch can: the array may be mapped from a large file.
        shared = values.flags.writeable and all(step >= 0 for step in values.strides)
        return torch.from_numpy(values if shared else values.copy())
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} of the {where} must be numbers", str(error), "give a tensor or an array") from error


def _finite(where: str, what: str, tensor: Tensor) -> Tensor:
    if not bool(tensor.isfinite().all()):
        bad = int((~tensor.isfinite()).flatten(1).any(dim=1).nonzero()[0])
        raise InputError(f"{what} of the {where} must be finite", f"NaN or infinity in sample {bad}", "mend the data")
    return tensor
