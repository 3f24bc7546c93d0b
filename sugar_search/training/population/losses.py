"""Losses of many members at once, and their gradients, as `metrics.batch_loss` defines them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from sugar_search.training.recipe import Recipe

__all__ = ["hits", "loss", "loss_and_gradient"]


def loss_and_gradient(recipe: Recipe, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Each member's loss of one training batch, shape (members,), and its gradient by the outputs.

    Args:
        recipe: whose `loss` and `label_smoothing` apply.
        outputs: shape (members, outputs, batch).
        targets: int64 classes (members, batch), or float32 (members, outputs, batch).
    """
    if _squared(recipe, targets):
        difference = outputs - _values(targets, outputs)
        scale = 1.0 if recipe.loss == "mse-sum" else 1 / (outputs.shape[1] * outputs.shape[2])
        return _sum_of_squares(difference) * scale, difference * (2 * scale)
    smoothing, classes, batch = recipe.label_smoothing, outputs.shape[1], outputs.shape[2]
    log_shares = F.log_softmax(outputs, dim=1)
    index = targets.unsqueeze(1)
    value = -log_shares.gather(1, index).sum(dim=(1, 2)) * ((1 - smoothing) / batch)
    gradient = log_shares.exp()
    if smoothing:
        value = value - log_shares.sum(dim=(1, 2)) * (smoothing / (classes * batch))
        gradient -= smoothing / classes
    less = torch.full_like(index, 1, dtype=outputs.dtype).mul_(smoothing - 1)
    return value, gradient.scatter_add_(1, index, less).div_(batch)


def loss(recipe: Recipe, outputs: Tensor, targets: Tensor) -> Tensor:
    """Each member's loss summed over the samples of a batch (with a mean over outputs where the recipe has one).

    Without label smoothing; arguments as in `loss_and_gradient`.
    """
    if _squared(recipe, targets):
        total = _sum_of_squares(outputs - _values(targets, outputs))
        return total if recipe.loss == "mse-sum" else total / outputs.shape[1]
    return -F.log_softmax(outputs, dim=1).gather(1, targets.unsqueeze(1)).sum(dim=(1, 2))


def hits(outputs: Tensor, targets: Tensor) -> Tensor | None:
    """Samples that each member classifies correctly; None for a regression."""
    return None if targets.is_floating_point() else (outputs.argmax(dim=1) == targets).sum(dim=1)


def _squared(recipe: Recipe, targets: Tensor) -> bool:
    return recipe.loss == "mse-sum" or targets.is_floating_point()


def _values(targets: Tensor, outputs: Tensor) -> Tensor:
    """Targets as values to regress: a class is 1 at its place and 0 elsewhere."""
    return targets if targets.is_floating_point() else F.one_hot(targets, outputs.shape[1]).mT.to(outputs.dtype)


def _sum_of_squares(difference: Tensor) -> Tensor:
    return difference.square().sum(dim=(1, 2))
