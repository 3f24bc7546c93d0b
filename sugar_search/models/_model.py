"""Builds an architecture by name."""

from typing import TYPE_CHECKING

from sugar_search import catalog
from sugar_search.errors import InputError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_model", "check_image"]


def build_model(name: str, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
    """The architecture `name`, freshly initialised from torch's global generator.

    Args:
        name: a name of `sugar-search list archs`; case, hyphens and underscores do not matter.
        input_shape: shape of one sample, without the batch: (channels, height, width) or (features,).
        outputs: number of classes or of regression targets.

    Raises:
        UnknownNameError: there is no such architecture.
        InputError: the architecture cannot take `input_shape` or `outputs`.
    """
    if outputs < 1:
        raise InputError("a model must have 1 or more outputs", outputs, "give the number of classes or targets")
    return catalog.load_module("archs", name).build(tuple(input_shape), outputs)


def check_image(arch: str, input_shape: tuple[int, ...], minimum: int) -> None:
    """Refuses a sample that is not an image of at least `minimum` x `minimum` pixels.

    Raises:
        InputError: the shape is not (channels, height, width) or is too small.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < minimum:
        rule = f"{arch} needs images (channels, height, width) of at least {minimum}x{minimum} pixels"
        raise InputError(rule, input_shape, "choose another dataset, its larger variant, or an arch such as mlp")
