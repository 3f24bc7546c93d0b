"""ResNet-18 for small images: 3x3 stem without max-pooling, 17 ReLU sites, 11.2 M parameters.

Source: He et al. 2015 (arXiv 1512.03385) in the form for 32x32 images of kuangliu/pytorch-cifar.
"""

from torch import Tensor, nn

from sugar_search.models._model import check_image

MIN_SIZE = 8  # pixels: three stride-2 stages leave 1x1
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


def build(input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """ResNet-18 with `input_shape` = (channels, height, width) and logits of shape (batch, outputs).

    Raises:
        InputError: the sample is not an image or is smaller than `MIN_SIZE`.
    """
    check_image("resnet18", input_shape, MIN_SIZE)
    layers: list[nn.Module] = [nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for width, stride in STAGES:
        layers += [BasicBlock(inputs, width, stride), BasicBlock(width, width, 1)]
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs))
