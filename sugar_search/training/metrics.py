"""Loss, accuracy, activation sparsity and dead units of a network on one split, in one pass."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sugar_search.data._dataset import Split
from sugar_search.training.recipe import Recipe
from sugar_search.training.run import Metrics

__all__ = ["ActivationCounter", "batch_loss", "evaluate", "relu_modules"]

CHUNK = 256  # samples per evaluation step: bounds memory, changes no result beyond rounding


def batch_loss(recipe: Recipe, outputs: Tensor, targets: Tensor, *, smooth: bool, mixed: bool = False) -> Tensor:
    """The scalar loss of one batch, in float32.

    Args:
        recipe: whose `loss` and `label_smoothing` apply.
        outputs: logits or predictions, shape (batch, outputs).
        targets: int64 classes (batch,), or float32 (batch, outputs).
        smooth: whether labels are smoothed; metrics never do.
        mixed: whether float targets are probabilities of classes, smoothed already, rather than values to regress.
    """
    outputs = outputs.float()
    if recipe.loss == "mse-sum":
        if not targets.is_floating_point():
            targets = F.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
        return F.mse_loss(outputs, targets, reduction="sum")
    if targets.is_floating_point() and not mixed:
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs, targets, label_smoothing=recipe.label_smoothing if smooth and not mixed else 0.0)


def relu_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The ReLU sites of `model`: `nn.ReLU`, ours, and that of an exported file, which is another class of that name."""
    return (each for each in model.modules() if isinstance(each, nn.ReLU) or type(each).__name__ == "SugarReLU")


class ActivationCounter:
    """Counts zeros and units that ever fired at each ReLU site; a module called twice in one pass is two sites.

    Sums stay on the device: nothing waits for it until `shares`.
    """

    def __init__(self) -> None:
        self._call = 0
        self._zeros: list[Tensor] = []  # per site, number of exact zeros
        self._outputs = 0
        self._fired: list[Tensor] = []  # per site, bool of shape (c, h, w): some sample was positive

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Counts every forward pass of `model` within the block."""
        handles = [model.register_forward_pre_hook(self._start)]
        handles += [module.register_forward_hook(self._count) for module in relu_modules(model)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _start(self, module: nn.Module, inputs: object) -> None:
        self._call = 0

    def _count(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        site, self._call = self._call, self._call + 1
        fired, zeros = (output > 0).any(dim=0), (output == 0).sum()
        self._outputs += output.numel()
        if site == len(self._fired):
            self._fired.append(fired)
            self._zeros.append(zeros)
        else:
            self._fired[site] |= fired
            self._zeros[site] += zeros

    def shares(self) -> tuple[float, float]:
        """Share of exact zeros and share of dead units over all sites; 0 where there is no site."""
        units = sum(fired.numel() for fired in self._fired)
        if not units:
            return 0.0, 0.0
        zeros = torch.stack(self._zeros).sum()
        fired = torch.stack([fired.sum() for fired in self._fired]).sum()
        return zeros.item() / self._outputs, 1 - fired.item() / units


@torch.no_grad()
def evaluate(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> Metrics:
    """Metrics of `model` on `split`, in evaluation mode; the mode before is restored.

    A loss of "mse-sum" is per batch: the total over the number of batches of the recipe's size, as in training.
    Sparsity and dead units are those of ReLU modules: calls of `torch.relu` within a network are not seen, and a
    network without ReLU has 0 of both.

    Args:
        model: on the split's device, or on the device that `prepare` moves to.
        split: samples to evaluate, one or more.
        recipe: gives the loss and its unit.
        context: entered around each forward pass, for autocast.
        prepare: brings inputs to the model's device and into the form it takes; None: they are in it.
    """
    was_training = model.training
    model.eval()
    counter, losses, hits = ActivationCounter(), [], []
    classes = not split.targets.is_floating_point()
    with counter.watch(model):
        for index in torch.arange(len(split), device=split.inputs.device).split(CHUNK):
            inputs, targets = split.take(index)
            inputs = inputs if prepare is None else prepare(inputs)
            targets = targets.to(inputs.device, non_blocking=True)
            with context():
                outputs = model(inputs)
            term = batch_loss(recipe, outputs, targets, smooth=False).double()
            losses.append(term if recipe.loss == "mse-sum" else term * len(inputs))
            if classes:
                hits.append((outputs.argmax(dim=1) == targets).sum())
    model.train(was_training)
    terms = math.ceil(len(split) / recipe.batch_size) if recipe.loss == "mse-sum" else len(split)
    loss = torch.stack(losses).sum().item() / terms
    accuracy = torch.stack(hits).sum().item() / len(split) if classes else None
    return Metrics(loss, accuracy, *counter.shares())
