"""Small multi-layer perceptron: 2 hidden ReLU layers of width 128, flattened input."""

import math
from itertools import pairwise

from torch import nn

HIDDEN = (128, 128)  # width of each hidden layer


def build(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The perceptron; logits of shape (batch, outputs), PyTorch's default initialisation."""
    widths = (math.prod(input_shape), *HIDDEN)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, width in pairwise(widths):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
