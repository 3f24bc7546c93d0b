"""Swin Transformer, tiny: torchvision's, 12 GELU sites, 27.7 M parameters for 200 classes.

Source: Liu et al. 2021 (arXiv 2103.14030): patches of 4 pixels, windows of 7 patches, widths 96 to 768, depths 2, 2, 6
and 2. Images of 224 pixels fill the windows; torchvision pads other sizes, so 64 pixels run too.
"""

from torch import nn

from sugar_search.models._model import check_drop_path, check_image
from sugar_search.vision import load

SHAPE = {
    "patch_size": [4, 4],
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": [7, 7],
}
SITES = ("gelu",)  # one in each block's perceptron
RECIPE = "paper-f"  # for natural images
MIN_SIZE = 4  # pixels: one patch


def build(input_shape: tuple[int, ...], outputs: int, *, drop_path: float = 0.2) -> nn.Module:
    """Swin-T with `input_shape` = (channels, height, width) and logits of shape (batch, outputs).

    Args:
        input_shape: images of at least `MIN_SIZE` pixels a side.
        outputs: number of classes.
        drop_path: rate of stochastic depth in the last block; it rises linearly from 0 in the first.

    Raises:
        InputError: the sample is not an image or is too small, or the rate is out of range.
    """
    check_image("swin_t", input_shape, MIN_SIZE)
    check_drop_path("swin_t", drop_path)
    # torchvision.models.swin_t is this class with these numbers, but fixes the rate at 0.2.
    swin = load("torchvision.models.swin_transformer").SwinTransformer
    model: nn.Module = swin(**SHAPE, stochastic_depth_prob=drop_path, num_classes=outputs)
    if input_shape[0] != 3:
        # A new layer starts as torchvision's patch convolution does: by PyTorch's default.
        patches = model.get_submodule("features.0")
        old = patches.get_submodule("0")
        assert isinstance(patches, nn.Sequential) and isinstance(old, nn.Conv2d)
        patches[0] = nn.Conv2d(input_shape[0], old.out_channels, (4, 4), stride=(4, 4))
    return model
