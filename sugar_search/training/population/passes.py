"""Forward and backward passes of many perceptrons in one batch, written out: no autograd, few operators a layer.

A layer's values have shape (members, units, batch). With the batch last, narrow layers are a few multiplications of
long rows; a batched matrix product takes five times as long there (300 members of width 2, batch 64).

A member's bits must not depend on how many others there are. Matrix libraries choose other orders of summation for one
matrix alone, for vectors, and for matrices that begin at odd addresses. So narrow layers do without them, and batches
are filled up with zeros to whole lines of memory (`SAMPLES`); rows of the buffers are whole lines too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sugar_search.training.population.layout import Layout

__all__ = ["SAMPLES", "Stack", "backward", "forward", "stack_of"]

NARROW = 4  # units up to which rows are multiplied
SAMPLES = 16  # batches are filled up to a multiple of it: 64 bytes


@dataclass(frozen=True, eq=False)
class Stack:
    """One linear layer of all members, as views of the flat buffers.

    Attributes:
        weight: shape (members, outputs, inputs).
        bias: shape (members, outputs, 1).
        weight_gradient: as `weight`; a backward pass writes it.
        bias_gradient: as `bias`.
        activated: whether a ReLU follows.
    """

    weight: Tensor
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor
    activated: bool


def stack_of(layout: Layout, buffers: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Stack]:
    """The layers of a network as views of the members' buffers and of their gradients."""
    return [
        Stack(
            layer.weight.rows(buffers),
            layer.bias.rows(buffers).unsqueeze(2),
            layer.weight.rows(gradients),
            layer.bias.rows(gradients).unsqueeze(2),
            layer.activated,
        )
        for layer in layout.layers
    ]


def forward(stack: Sequence[Stack], x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Each layer's inputs, with the network's outputs as the last, and each layer's values before the ReLU.

    Args:
        stack: the layers.
        x: shape (members, inputs, batch), contiguous; the batch a multiple of `SAMPLES`.
    """
    inputs, before = [x], []
    for layer in stack:
        z = _affine(layer.weight, layer.bias, inputs[-1])
        before.append(z)
        inputs.append(torch.relu(z) if layer.activated else z)
    return inputs, before


def backward(
    stack: Sequence[Stack],
    inputs: Sequence[Tensor],
    before: Sequence[Tensor],
    gradient: Tensor,
    relu_gradient: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Writes the gradients of all weights and biases.

    Args:
        stack: the layers.
        inputs: from `forward`.
        before: from `forward`.
        gradient: of the loss by the network's outputs, shape (members, outputs, batch), 0 where the
            batch was filled up.
        relu_gradient: of the members' surrogates.
    """
    for number in reversed(range(len(stack))):
        layer = stack[number]
        if layer.activated:
            gradient = relu_gradient(gradient, before[number])
        _outer(gradient, inputs[number], layer.weight_gradient)
        torch.sum(gradient, dim=2, keepdim=True, out=layer.bias_gradient)
        if number:
            gradient = _pulled(layer.weight, gradient)


def _affine(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    if weight.shape[2] > NARROW:
        return torch.baddbmm(bias, weight, x)
    z = weight[:, :, :1] * x[:, :1]
    for unit in range(1, weight.shape[2]):
        z.addcmul_(weight[:, :, unit : unit + 1], x[:, unit : unit + 1])
    return z.add_(bias)


def _pulled(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient by a layer's inputs, from the one by its outputs."""
    if weight.shape[1] > NARROW:
        return torch.bmm(weight.mT, gradient)
    pulled = weight[:, 0].unsqueeze(2) * gradient[:, :1]
    for unit in range(1, weight.shape[1]):
        pulled.addcmul_(weight[:, unit].unsqueeze(2), gradient[:, unit : unit + 1])
    return pulled


def _outer(gradient: Tensor, inputs: Tensor, out: Tensor) -> None:
    """The gradient by a layer's weights, from the one by its outputs and from its inputs, summed over the batch."""
    if min(gradient.shape[1], inputs.shape[1]) > NARROW:
        torch.bmm(gradient, inputs.mT, out=out)
    else:
        torch.sum(gradient.unsqueeze(2) * inputs.unsqueeze(1), dim=3, out=out)
