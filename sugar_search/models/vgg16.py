"""VGG-16 for small images: 13 convolutions and one linear layer, 13 ReLU sites, 14.7 M parameters.

Source: Simonyan and Zisserman 2014 (arXiv 1409.1556) in the form for 32x32 images of kuangliu/pytorch-cifar. The paper
on SUGAR prints no definition; its figure 4 shows 13 convolutions and a fully connected last layer. Convolutions have
biases with and without batch norm, which is not stated there either. The weights start as PyTorch's layers do; without
batch norm images could then hardly be told apart at the last layer (their features differ by 5e-7), so there they are
He-normal (fan out) with zero biases, as in torchvision.
"""

import logging

from torch import nn

from sugar_search.models._model import check_image

SIZE = 32  # pixels: five poolings leave 1x1; smaller images are resized
POOL = 0  # marks a 2x2 max-pooling among the widths
WIDTHS = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512, POOL)  # channels

log = logging.getLogger("sugar_search")


def build(input_shape: tuple[int, ...], outputs: int, *, batch_norm: bool = True) -> nn.Module:
    """VGG-16 with `input_shape` = (channels, height, width) and logits of shape (batch, outputs).

    Args:
        input_shape: sides under `SIZE` are resized to it (bilinear), with a note.
        outputs: number of classes.
        batch_norm: a batch norm after each convolution.

    Raises:
        InputError: the sample is not an image.
    """
    check_image("vgg16", input_shape, 1)
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    if min(height, width) < SIZE:
        size = (max(height, SIZE), max(width, SIZE))
        log.warning("vgg16 resizes %dx%d images to %dx%d", height, width, *size)
        layers.append(nn.Upsample(size, mode="bilinear"))
    inputs = channels
    for units in WIDTHS:
        if units == POOL:
            layers.append(nn.MaxPool2d(2))
            continue
        convolution = nn.Conv2d(inputs, units, 3, padding=1)
        if not batch_norm:
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        layers += [convolution, *([nn.BatchNorm2d(units)] if batch_norm else []), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs))
