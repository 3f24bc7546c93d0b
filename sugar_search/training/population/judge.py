"""Metrics of a block's members on their validation samples, as `metrics.evaluate` gives them for one network."""

import math

import torch
from torch import Tensor

from sugar_search.data._dataset import Split
from sugar_search.training.augment import Look
from sugar_search.training.metrics import CHUNK
from sugar_search.training.population.block import Block
from sugar_search.training.population.epoch import gathered
from sugar_search.training.population.losses import hits, loss
from sugar_search.training.population.passes import forward
from sugar_search.training.run import Metrics

__all__ = ["judged"]


@torch.no_grad()
def judged(block: Block, split: Split, look: Look) -> list[Metrics]:
    """Metrics of each member after an epoch.

    Args:
        block: whose members are judged.
        split: samples that the members' rows name.
        look: how samples must look to the networks.
    """
    recipe, members = block.recipe, block.members
    rows = torch.stack([member.validation for member in members]).to(split.inputs.device)
    samples = rows.shape[1]
    losses = torch.zeros(len(members), dtype=torch.float64, device=look.device)
    right: Tensor | None = None
    positive = [torch.zeros((), device=look.device) for layer in block.stack if layer.activated]  # exact to 2**24
    sizes = [min(CHUNK, samples - start) for start in range(0, samples, CHUNK)]
    for inputs, targets in gathered(split, look, rows, sizes):
        values, _ = forward(block.stack, inputs)
        size = targets.shape[-1]
        outputs = values[-1][:, :, :size]
        losses += loss(recipe, outputs, targets)
        found = hits(outputs, targets)
        right = found if right is None or found is None else right + found
        sites = [y for layer, y in zip(block.stack, values[1:]) if layer.activated]
        # A fifth of the time of `(y > 0).sum()`, which makes whole numbers of the truths first.
        positive = [count + y[:, :, :size].sign().sum(dim=2) for count, y in zip(positive, sites)]
    terms = math.ceil(samples / recipe.batch_size) if recipe.loss == "mse-sum" else samples
    counts = torch.cat(positive, dim=1)  # of samples, by member and unit
    units = counts.shape[1]
    sparsity = (units * samples - counts.double().sum(dim=1)) / (units * samples)
    dead = 1 - (counts > 0).sum(dim=1).double() / units
    accuracy = [None] * len(members) if right is None else (right.double() / samples).tolist()
    return [Metrics(*each) for each in zip((losses / terms).tolist(), accuracy, sparsity.tolist(), dead.tolist())]
