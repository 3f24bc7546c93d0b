"""Where the weights of a small perceptron lie in one row of a flat buffer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Layer", "Layout", "Place", "layout_of"]

# Floats. Rows of whole vectors: no element of a row is then computed by the end piece of a vectorised loop, whose
# rounding may differ, so that a member's bits do not depend on how many rows there are.
ROW = 64


@dataclass(frozen=True)
class Place:
    """One parameter.

    Attributes:
        name: in the network's state dict.
        buffer: number of the flat buffer.
        offset: floats from the start of a row.
        shape: of the parameter.
    """

    name: str
    buffer: int
    offset: int
    shape: tuple[int, ...]

    def rows(self, buffers: Sequence[Tensor]) -> Tensor:
        """The parameter of all members, a view of shape (members, *shape)."""
        flat = buffers[self.buffer]
        return flat[:, self.offset : self.offset + math.prod(self.shape)].view(len(flat), *self.shape)


@dataclass(frozen=True)
class Layer:
    """A linear layer: its weights (outputs, inputs), its biases (outputs,), and whether a ReLU follows."""

    weight: Place
    bias: Place
    activated: bool


@dataclass(frozen=True)
class Layout:
    """A network's layers and the row lengths of the flat buffers that hold them.

    Attributes:
        layers: in the order of the forward pass.
        widths: floats in a row of each buffer: one buffer, or weights and biases apart.
    """

    layers: tuple[Layer, ...]
    widths: tuple[int, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """All parameters."""
        return tuple(place for layer in self.layers for place in (layer.weight, layer.bias))

    def pack(self, states: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """New buffers of shape (members, width) that hold the state dicts of some networks."""
        device = next(iter(states[0].values())).device
        buffers = [torch.zeros(len(states), width, device=device) for width in self.widths]
        for place in self.places:
            place.rows(buffers).copy_(torch.stack([state[place.name] for state in states]))
        return buffers

    def unpack(self, buffers: Sequence[Tensor], row: int) -> dict[str, Tensor]:
        """The state dict of one member, as views."""
        return {place.name: place.rows(buffers)[row] for place in self.places}


def layout_of(model: nn.Module, *, separate: bool) -> Layout:
    """The layout of a network without an obstacle (see `perceptron`).

    Args:
        model: the network.
        separate: whether weights and biases lie in two buffers, as where only weights decay.
    """
    ends, layers = [0, 0] if separate else [0], []
    # Not `named_children`: it drops a ReLU's second use.
    named = [(name, module) for name, module in model._modules.items() if not isinstance(module, nn.Flatten)]
    for at, (name, module) in enumerate(named):
        if not isinstance(module, nn.Linear):
            continue
        places = []
        for kind, buffer in (("weight", 0), ("bias", len(ends) - 1)):
            parameter = getattr(module, kind)
            places.append(Place(f"{name}.{kind}", buffer, ends[buffer], tuple(parameter.shape)))
            ends[buffer] += parameter.numel()
        activated = at + 1 < len(named) and isinstance(named[at + 1][1], nn.ReLU)
        layers.append(Layer(places[0], places[1], activated))
    return Layout(tuple(layers), tuple(-(-end // ROW) * ROW for end in ends))
