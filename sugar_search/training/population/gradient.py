"""The gradient of ReLU for many members at once, each with its own surrogate."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

import torch
from torch import Tensor

from sugar_search.activation.exact import compile_tape
from sugar_search.activation.kernels.operators import backward_at_once
from sugar_search.activation.table.cache import SAMPLED, table_of
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["relu_gradient", "sorting_key"]

Gradient = Callable[[Tensor, Tensor], Tensor]


def relu_gradient(surrogates: Sequence[Surrogate | None], device: torch.device) -> Gradient:
    """A function of the gradient at ReLU's output and of its input that gives the gradient at its input.

    Members' tables are read by one operator. A surrogate without a sound table is evaluated by its exact code.

    Args:
        surrogates: one per member, sorted by `sorting_key`; None for ReLU's own derivative.
        device: of the tensors.

    Returns:
        A function of two tensors of shape (members, units, batch).
    """
    parts: list[tuple[slice, Gradient]] = []
    start = 0
    for key, group in groupby(surrogates, key=sorting_key):
        members = list(group)
        rows = slice(start, start := start + len(members))
        parts.append((rows, _of_group(key, members, device)))
    return parts[0][1] if len(parts) == 1 else partial(_by_parts, parts)


def sorting_key(surrogate: Surrogate | None) -> str:
    """An order that brings members together whose gradients one operator gives."""
    if surrogate is None:
        return ""
    return "table" if table_of(surrogate.tape).error <= SAMPLED else surrogate.canonical + " exact"


def _of_group(key: str, members: Sequence[Surrogate | None], device: torch.device) -> Gradient:
    if members[0] is None:
        return partial(torch.ops.aten.threshold_backward, threshold=0)
    if key == "table":
        words = {each: torch.from_numpy(table_of(each.tape).words.copy()) for each in members if each is not None}
        return partial(
            backward_at_once, words=torch.stack([words[each] for each in members if each is not None]).to(device)
        )
    return partial(_exact, compile_tape(members[0].tape))


def _exact(derivative: Callable[[Tensor], Tensor], grad: Tensor, x: Tensor) -> Tensor:
    # Member by member: the end piece of a vectorised loop over all of them would make bits depend on their number.
    return grad * torch.stack([derivative(member) for member in x])


def _by_parts(parts: Sequence[tuple[slice, Gradient]], grad: Tensor, x: Tensor) -> Tensor:
    return torch.cat([gradient(grad[rows], x[rows]) for rows, gradient in parts])
