"""Narrow and deep perceptron of the dying-ReLU study: 10 hidden ReLU layers of width 2.

Source: Appendix A of arXiv 2505.22074, after Lu et al. (arXiv 1903.06733). There are three initialisations:

- "he": weights are He-normal, N(0, 2/fan_in). The paper does not state the biases; zeros are used.
- "rai": the randomized asymmetric initialisation of Lu et al., in every linear layer. Each row of weights and bias is
  drawn from N(0, 0.6007**2 / fan_in), then one entry of it, chosen at random, is replaced by a draw from Beta(2, 1).
- "rai-later": the same in every layer but the first, which is "he".

Which layers Lu et al. mean is not settled. On f1 100 runs of "rai" gave 54 % collapsed, 14 % learned in part and 32 %
learned; "rai-later" gave 43, 22 and 35 %; Lu et al. report 40.3, 22.4 and 37.3 %.
"""

import math
from itertools import pairwise

import torch
from torch import nn

from sugar_search.errors import InputError

DEPTH = 10  # hidden layers
WIDTH = 2  # units in each
RAI_STD = 0.6007  # times 1/sqrt(fan_in)


def build(input_shape: tuple[int, ...], outputs: int, *, init: str = "he") -> nn.Module:
    """The perceptron; linear outputs of shape (batch, outputs).

    Args:
        input_shape: of one sample; it is flattened.
        outputs: number of targets.
        init: "he", "rai" or "rai-later".

    Raises:
        InputError: `init` is none of them.
    """
    if init not in INITIALISATIONS:
        known = ", ".join(INITIALISATIONS)
        raise InputError(f"option init of arch narrow_mlp must be one of {known}", init, "choose one")
    widths = (math.prod(input_shape), *[WIDTH] * DEPTH)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, width in pairwise(widths):
        layers += [nn.Linear(inputs, width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, outputs))
    first, later = INITIALISATIONS[init]
    linear = [module for module in model if isinstance(module, nn.Linear)]
    for number, layer in enumerate(linear):
        later(layer) if number else first(layer)
    return model


def _he(layer: nn.Linear) -> None:
    nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
    nn.init.zeros_(layer.bias)


@torch.no_grad()
def _rai(layer: nn.Linear) -> None:
    rows = torch.randn(layer.out_features, layer.in_features + 1) * (RAI_STD / math.sqrt(layer.in_features))
    chosen = torch.randint(layer.in_features + 1, (layer.out_features, 1))
    rows.scatter_(1, chosen, torch.rand(layer.out_features, 1).sqrt())  # the root of a uniform draw has Beta(2, 1)
    layer.weight.copy_(rows[:, :-1])
    layer.bias.copy_(rows[:, -1])


INITIALISATIONS = {"he": (_he, _he), "rai": (_rai, _rai), "rai-later": (_he, _rai)}  # of the first layer and the others
