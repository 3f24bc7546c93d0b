"""Narrow and deep perceptron of the dying-ReLU study: 10 hidden ReLU layers of width 2.

Source: Appendix A of arXiv 2505.22074, after Lu et al. (arXiv 1903.06733). Weights are He-normal, N(0, 2/fan_in). The
paper does not state the biases; zeros are used.
"""

import math
from itertools import pairwise

from torch import nn

DEPTH = 10  # hidden layers
WIDTH = 2  # units in each


def build(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The perceptron; linear outputs of shape (batch, outputs)."""
    widths = (math.prod(input_shape), *[WIDTH] * DEPTH)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, width in pairwise(widths):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, outputs))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=math.sqrt(2 / module.in_features))
            nn.init.zeros_(module.bias)
    return model
