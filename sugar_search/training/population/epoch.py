"""One pass of a block's members over their training samples: gather, forward, backward, step."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sugar_search.data._dataset import Split
from sugar_search.training.augment import Look, normalised, on_device
from sugar_search.training.feed import cut
from sugar_search.training.population.block import Block
from sugar_search.training.population.losses import loss_and_gradient
from sugar_search.training.population.passes import SAMPLES, backward, forward
from sugar_search.training.schedule import learning_rate

__all__ = ["Pass", "gathered", "run_epoch"]

GATHERED = 2**23  # floats gathered at once: several steps of small inputs, so that gathering costs little


@dataclass(frozen=True, eq=False)
class Pass:
    """What one pass gave.

    Attributes:
        losses: of the members, in the unit of `training.epoch.Pass.loss`, float64 of shape (members,).
        lr: learning rate of the last step.
        samples: used by each member.
        seconds: wall time of the block.
    """

    losses: Tensor
    lr: float
    samples: int
    seconds: float


@torch.no_grad()
def run_epoch(block: Block, split: Split, look: Look, epoch: int) -> Pass:
    """Trains all members of a block for one epoch.

    Args:
        block: what is trained; its optimizer and its members' generators move on.
        split: samples that the members' rows name.
        look: how samples must look to the networks.
        epoch: counted from 1.
    """
    recipe, began = block.recipe, time.perf_counter()
    if look.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(look.device)
    count = len(block.members[0].train)
    sizes = [len(part) for parts in cut(recipe, torch.arange(count)) for part in parts]
    rows = _rows(block, sum(sizes), split.inputs.device)
    summed = recipe.loss == "mse-sum"
    total = torch.zeros(len(block.members), dtype=torch.float64, device=look.device)
    lr = 0.0
    for step, (inputs, targets) in enumerate(gathered(split, look, rows, sizes), start=(epoch - 1) * len(sizes)):
        size = targets.shape[-1]
        lr = learning_rate(recipe, step, len(sizes))
        for group in block.optimizer.param_groups:
            group["lr"] = lr
        values, before = forward(block.stack, inputs)
        losses, gradient = loss_and_gradient(recipe, values[-1][:, :, :size], targets)
        gradient = F.pad(gradient, (0, inputs.shape[2] - size))
        backward(block.stack, values, before, gradient, block.relu_gradient)
        total += losses if summed else losses * size
        if recipe.gradient_clip is not None:
            _clip(block.gradients, recipe.gradient_clip)
        block.optimizer.step()
    terms = len(sizes) if summed else sum(sizes)
    return Pass(total / terms, lr, sum(sizes), time.perf_counter() - began)


def gathered(split: Split, look: Look, rows: Tensor, sizes: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches for all members.

    Args:
        split: the samples; large ones stay on the CPU, and a batch at a time is moved.
        look: how they must look to the networks.
        rows: of the split's tensors and on their device, int64 of shape (members, samples).
        sizes: of the batches, which take the samples in turn.

    Yields:
        Inputs in float32 of shape (members, features, batch), the batch filled up with zeros as `passes` needs it; and
        targets of the batch's own size, int64 classes (members, batch) or float32 (members, outputs, batch).
    """
    features = split.inputs[0].numel()
    for part in _parts(sizes, max(1, GATHERED // (len(rows) * features))):
        here, rows = rows[:, : sum(part)], rows[:, sum(part) :]
        index = here.flatten()
        inputs, targets = on_device(look, split.inputs[index]), on_device(look, split.targets[index])
        inputs = normalised(look, inputs).reshape(*here.shape, features).mT.contiguous()
        if targets.is_floating_point():
            targets = targets.view(*here.shape, -1).mT.contiguous()
        else:
            targets = targets.view(here.shape)
        for batch, wanted in zip(inputs.split(part, dim=2), targets.split(part, dim=-1), strict=True):
            yield F.pad(batch, (0, -batch.shape[2] % SAMPLES)).contiguous(), wanted


def _rows(block: Block, used: int, device: torch.device) -> Tensor:
    """The samples of an epoch in each member's order, drawn as a solo run draws it."""
    trained = {member.spec.seed: member.train for member in block.members}
    orders = {seed: torch.randperm(len(rows), generator=block.orders[seed])[:used] for seed, rows in trained.items()}
    taken = {seed: trained[seed][order] for seed, order in orders.items()}
    return torch.stack([taken[member.spec.seed] for member in block.members]).to(device)


def _parts(sizes: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Batches in groups of at most `limit` samples, or of one batch."""
    group: list[int] = []
    for size in sizes:
        if group and sum(group) + size > limit:
            yield group
            group = []
        group.append(size)
    if group:
        yield group


def _clip(gradients: Sequence[Tensor], limit: float) -> None:
    """Scales each member's gradient down to a norm of `limit`, as `clip_grad_norm_` does for one network."""
    norms = torch.stack([torch.linalg.vector_norm(each, dim=1) for each in gradients])
    norm = torch.linalg.vector_norm(norms, dim=0)
    share = (limit / (norm + 1e-6)).clamp(max=1.0).unsqueeze(1)
    for each in gradients:
        each.mul_(share)
