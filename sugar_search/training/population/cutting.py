"""Cuts members into blocks that fit into the cache."""

from collections.abc import Sequence
from itertools import pairwise

from sugar_search.training.population.block import Block, Member, Tensors, joined
from sugar_search.training.population.gradient import sorting_key
from sugar_search.training.population.layout import Layout
from sugar_search.training.recipe import Recipe

__all__ = ["blocks_of"]

# Bytes that a step of a block touches: members of a larger block push each other out of the cache.
BLOCK_BYTES = 8 * 2**20


def blocks_of(layout: Layout, members: Sequence[tuple[Member, Tensors]]) -> list[Block]:
    """Blocks of members that have finished the same number of epochs, each with its own tensors."""
    if not members:
        return []
    recipe = members[0][0].spec.recipe
    ordered = sorted(members, key=lambda each: sorting_key(each[0].surrogate))
    return [
        Block(layout, recipe, [member for member, _ in part], joined([tensors for _, tensors in part]))
        for part in _cut(ordered, _bytes(layout, recipe))
    ]


def _bytes(layout: Layout, recipe: Recipe) -> int:
    """What a step of one member touches: weights, gradients, two moments, and three values of each unit."""
    units = sum(sum(layer.weight.shape) for layer in layout.layers)
    return 4 * (4 * sum(layout.widths) + 3 * units * recipe.batch_size)


def _cut(members: Sequence[tuple[Member, Tensors]], each: int) -> list[Sequence[tuple[Member, Tensors]]]:
    """Members in even parts, none of which needs more than BLOCK_BYTES."""
    parts = -(-len(members) // max(1, BLOCK_BYTES // each))
    ends = [len(members) * part // parts for part in range(parts + 1)]
    return [members[start:end] for start, end in pairwise(ends)]
