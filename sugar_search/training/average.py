"""Exponential moving average of a network's weights and buffers, per step, without waiting for the device."""

from collections.abc import Iterator
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn

__all__ = ["average_of", "update"]


def average_of(model: nn.Module) -> nn.Module:
    """A copy of `model` in evaluation mode, from which the average starts, as timm's ModelEmaV3 does."""
    return deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the average towards `model` by a share of 1 - `decay`; whole-number buffers are copied."""
    floats: tuple[list[Tensor], list[Tensor]] = ([], [])
    for old, new in zip(_tensors(average), _tensors(model), strict=True):
        if old.is_floating_point():
            floats[0].append(old)
            floats[1].append(new)
        else:
            old.copy_(new)
    torch._foreach_lerp_(*floats, 1 - decay)


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, each once."""
    return chain(model.parameters(), model.buffers())
