"""Conv2NeXt for small images: base and tiny, GELU sites, 7.4 M and 3.3 M parameters.

Source: Feng et al. 2022, "Conv2NeXt: Reconsidering ConvNeXt Network Design for Image Recognition", and its code
southerly7/Conv2NeXt, which this file follows where the two leave a choice: stochastic depth of 0 (0.1 with averaged
weights in its README), depthwise and spatial convolutions with biases, the norm after the stride-2 convolution, a layer
scale of 1e-6. With the same weights the outputs are the same up to rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sugar_search.models._model import check_drop_path, check_image
from sugar_search.vision import load

# Per variant: number of blocks and width in channels of each of the four stages.
STAGES = {
    "base": ((3, 3, 9, 3), (128, 128, 256, 256)),
    "tiny": ((3, 3, 6, 3), (96, 96, 192, 192)),
}
VARIANTS: tuple[str, ...] = tuple(STAGES)
SITES = ("gelu",)  # hard-swish and sigmoids stay
RECIPE = "paper-g"  # for natural images
MIN_SIZE = 2  # pixels: one 2x2 convolution of stride 2
SCALE = 1e-6  # initial layer scale
DEVIATION = 0.02  # of the truncated-normal initial weights


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of feature maps: (batch, channels, height, width) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """`x` normalised at each pixel."""
        # In channels_last these permutations move nothing.
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MixSACA(nn.Module):
    """Coordinate attention on one half of the channels, spatial attention on the other, then a channel shuffle.

    Shapes: (batch, width, height, width in pixels) to the same shape.
    """

    def __init__(self, width: int, kernel: int = 3, reduction: int = 2) -> None:
        super().__init__()
        half = width // 2
        squeezed = max(8, half // reduction)
        self.squeeze = nn.Sequential(nn.Conv2d(half, squeezed, 1), nn.BatchNorm2d(squeezed), nn.Hardswish())
        self.rows = nn.Conv2d(squeezed, half, 1)
        self.columns = nn.Conv2d(squeezed, half, 1)
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """The attended feature maps."""
        first, second = x.chunk(2, dim=1)
        height, width = x.shape[2:]
        # Means over the width (one per row) and over the height (one per column), side by side in one map.
        means = torch.cat([first.mean(3, keepdim=True), first.mean(2, keepdim=True).transpose(2, 3)], dim=2)
        rows, columns = self.squeeze(means).split([height, width], dim=2)
        first = first * self.rows(rows).sigmoid() * self.columns(columns.transpose(2, 3)).sigmoid()
        extremes = torch.cat([second.max(1, keepdim=True).values, second.mean(1, keepdim=True)], dim=1)
        second = second * self.spatial(extremes).sigmoid()
        mixed = torch.cat([first, second], dim=1) + x
        # A channel shuffle in groups of half the width, so of two channels each. The functional channel_shuffle would
        # leave the channels_last layout on CUDA.
        return torch.cat([mixed[:, ::2], mixed[:, 1::2]], dim=1)


class Block(nn.Module):
    """Depthwise convolution, perceptron over the channels, depthwise convolution, each with its residual.

    Shapes: (batch, width, height, width in pixels) to the same shape.
    """

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width))
        self.expand = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.reduce = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), SCALE))
        self.out = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width))
        self.drop: Any = load("torchvision.ops").StochasticDepth(drop, "row") if drop else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output for feature maps `x`."""
        inner = self.mix(x)
        hidden = self.reduce(self.act(self.expand(inner.permute(0, 2, 3, 1)))) * self.gamma
        return x + self.drop(self.out(hidden.permute(0, 3, 1, 2) + inner))


def build(
    input_shape: tuple[int, ...], outputs: int, *, variant: str | None = None, drop_path: float = 0.0
) -> nn.Module:
    """Conv2NeXt with `input_shape` = (channels, height, width) and logits of shape (batch, outputs).

    Args:
        input_shape: images of at least `MIN_SIZE` pixels a side.
        outputs: number of classes.
        variant: a name of `VARIANTS`, "base" by default.
        drop_path: rate of stochastic depth in the last block; it rises linearly from 0 in the first.

    Raises:
        InputError: the sample is not an image or is too small, or the rate is out of range.
    """
    check_image("conv2next", input_shape, MIN_SIZE)
    check_drop_path("conv2next", drop_path)
    depths, widths = STAGES[variant or "base"]
    rates = iter([drop_path * index / (sum(depths) - 1) for index in range(sum(depths))])
    layers: list[nn.Module] = [nn.Conv2d(input_shape[0], widths[0], 1), ChannelNorm(widths[0])]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage == 2:
            layers += [nn.Conv2d(widths[1], width, 2, stride=2), ChannelNorm(width)]
        elif stage:
            layers += [ChannelNorm(width), MixSACA(width)]
        layers += [Block(width, next(rates)) for _ in range(depth)]
    layers += [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(widths[-1], eps=1e-6),
        nn.Linear(widths[-1], outputs),
    ]
    model = nn.Sequential(*layers)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
