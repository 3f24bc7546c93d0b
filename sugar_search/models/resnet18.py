"""ResNet-18 for small images: 3x3 stem without max-pooling, 17 ReLU sites, 11.2 M parameters.

Source: He et al. 2015 (arXiv 1512.03385) in the form for 32x32 images of kuangliu/pytorch-cifar. The SUGAR paper does
not say which stem it used; the option `stem` has both.
"""

from torch import Tensor, nn

from sugar_search.errors import InputError
from sugar_search.models._model import check_image

MIN_SIZE = 8  # pixels: three stride-2 stages leave 1x1
STEMS = {"3x3": (3, 1), "7x7": (7, 2)}  # kernel in pixels, stride
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width in channels, stride of the first block


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to a shortcut; one ReLU module per site.

    Shapes: (batch, inputs, height, width) to (batch, width, height/stride, width/stride).
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output for feature maps `x`."""
        hidden = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(hidden)) + self.shortcut(x))


def build(input_shape: tuple[int, ...], outputs: int, *, stem: str = "3x3") -> nn.Module:
    """ResNet-18 with `input_shape` = (channels, height, width) and logits of shape (batch, outputs).

    Args:
        input_shape: of one sample.
        outputs: number of classes.
        stem: "3x3" for small images, or "7x7" for the one of ImageNet: stride 2, then 3x3 max-pooling of stride 2.

    Raises:
        InputError: the sample is not an image or is smaller than `MIN_SIZE`, or there is no such stem.
    """
    if stem not in STEMS:
        raise InputError("option stem of arch resnet18 must be 3x3 or 7x7", stem, "3x3 is for small images")
    check_image("resnet18", input_shape, MIN_SIZE)
    size, stride = STEMS[stem]
    first = nn.Conv2d(input_shape[0], 64, size, stride, padding=size // 2, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm2d(64), nn.ReLU()]
    if stride > 1:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    inputs = 64
    for width, stride in STAGES:
        layers += [BasicBlock(inputs, width, stride), BasicBlock(width, width, 1)]
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs))
