"""VGG-16, Conv2NeXt and Swin-T: their layers, against other implementations where there are any."""

import logging

import pytest
import torch
from nets import parameters
from torch import nn

from sugar_search.models._model import build_model
from sugar_search.models.conv2next import Block, ChannelNorm, MixSACA
from sugar_search.vision import load


def drop_rates(model):
    kind = load("torchvision.ops").StochasticDepth
    return [module.p for module in model.modules() if isinstance(module, kind)]


# --- VGG-16


def test_vgg16_halves_the_map_after_layers_2_4_7_10_and_13():
    model = build_model("vgg16", (3, 32, 32), 10).eval()
    shapes = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    widths = [(64, 32)] * 2 + [(128, 16)] * 2 + [(256, 8)] * 3 + [(512, 4)] * 3 + [(512, 2)] * 3
    assert shapes == [(channels, side, side) for channels, side in widths]


def test_vgg16_resizes_small_images_once_with_a_note(caplog):
    with caplog.at_level(logging.WARNING, logger="sugar_search"):
        small = build_model("vgg16", (1, 8, 16), 10).eval()
    assert [record.getMessage() for record in caplog.records] == ["vgg16 resizes 8x16 images to 32x32"]
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="sugar_search"):
        large = build_model("vgg16", (1, 32, 48), 10).eval()
    assert not caplog.records and parameters(small) == parameters(large)
    with torch.no_grad():
        for own, other in zip(large.parameters(), small.parameters(), strict=True):
            own.copy_(other)
        x = torch.randn(2, 1, 8, 16)
        resized = nn.functional.interpolate(x, (32, 32), mode="bilinear", align_corners=False)
        torch.testing.assert_close(small(x), large(resized))
        assert large(torch.randn(2, 1, 32, 48)).shape == large(torch.randn(2, 1, 96, 64)).shape == (2, 10)


def test_vgg16_without_batch_norm_keeps_its_signal():
    # With PyTorch's default weights the last features differ by 5e-7 between images of unit variance.
    torch.manual_seed(0)
    model = build_model("vgg16", (3, 32, 32), 10, batch_norm=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert model[:-1](torch.randn(16, 3, 32, 32)).std(0).mean() > 1e-3


# --- Conv2NeXt


def test_channel_norm_is_timms_layer_norm_2d():
    theirs = load("timm.layers").LayerNorm2d(12, eps=1e-6)
    ours = ChannelNorm(12)
    with torch.no_grad():
        for weights in theirs.parameters():
            weights.normal_()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 12, 5, 4)
    a, b = (x.clone().requires_grad_() for _ in range(2))
    ours(a).square().sum().backward()
    theirs(b).square().sum().backward()
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4)


def test_mix_saca_is_coordinate_and_spatial_attention_with_a_shuffle():
    torch.manual_seed(0)
    layer = MixSACA(24).double().eval()
    assert layer.squeeze[0].out_channels == 8  # at least 8; half of the 12 channels would be 6
    assert MixSACA(128).squeeze[0].out_channels == 32
    x = torch.randn(2, 24, 5, 7, dtype=torch.float64)
    first, second = x[:, :12], x[:, 12:]
    squeeze, norm = layer.squeeze[0], layer.squeeze[1]

    def attend(means, convolution):
        """One direction's gate from (batch, channels, positions), each position on its own."""
        hidden = torch.einsum("oc,bcp->bop", squeeze.weight[:, :, 0, 0], means) + squeeze.bias[:, None]
        hidden = (hidden - norm.running_mean[:, None]) / (norm.running_var[:, None] + norm.eps).sqrt()
        hidden = hidden * (hidden + 3).clamp(0, 6) / 6
        return (
            torch.einsum("oc,bcp->bop", convolution.weight[:, :, 0, 0], hidden) + convolution.bias[:, None]
        ).sigmoid()

    first = first * attend(first.mean(3), layer.rows)[..., None] * attend(first.mean(2), layer.columns)[:, :, None]
    pair = torch.stack([second.max(1).values, second.mean(1)], dim=1)
    second = second * nn.functional.conv2d(pair, layer.spatial.weight, layer.spatial.bias, padding=1).sigmoid()
    mixed = torch.cat([first, second], dim=1) + x
    order = [*range(0, 24, 2), *range(1, 24, 2)]  # 12 groups of two channels, transposed
    torch.testing.assert_close(layer(x), mixed[:, order])


def test_a_block_is_the_sum_of_its_input_and_a_branch_with_an_inner_residual():
    torch.manual_seed(0)
    block = Block(8, 0.0).double().eval()
    nn.init.normal_(block.gamma)
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    inner = block.mix[1](block.mix[0](x))
    hidden = nn.functional.gelu(
        torch.einsum("oc,bchw->bohw", block.expand.weight, inner) + block.expand.bias[:, None, None]
    )
    hidden = torch.einsum("oc,bchw->bohw", block.reduce.weight, hidden) + block.reduce.bias[:, None, None]
    branch = block.out[1](block.out[0](hidden * block.gamma[:, None, None] + inner))
    torch.testing.assert_close(block(x), x + branch)
    dropped = Block(8, 0.999999).train()
    x = x.float()
    assert torch.equal(dropped(x), x)  # the whole branch is dropped


@pytest.mark.parametrize(
    ("arch", "depths", "widths"),
    [("conv2next", (3, 3, 9, 3), (128, 128, 256, 256)), ("conv2next/tiny", (3, 3, 6, 3), (96, 96, 192, 192))],
)
def test_conv2next_has_the_stages_of_its_source(arch, depths, widths):
    model = build_model(arch, (3, 8, 8), 10)
    kinds = [type(layer).__name__ for layer in model]
    stage = [["Block"] * depth for depth in depths]
    attention, halving = ["ChannelNorm", "MixSACA"], ["Conv2d", "ChannelNorm"]
    body = ["Conv2d", "ChannelNorm", *stage[0], *attention, *stage[1], *halving, *stage[2], *attention, *stage[3]]
    assert kinds == [*body, "AdaptiveAvgPool2d", "Flatten", "LayerNorm", "Linear"]
    blocks = [layer for layer in model if isinstance(layer, Block)]
    assert [len(block.gamma) for block in blocks] == [w for w, d in zip(widths, depths, strict=True) for _ in range(d)]
    assert all((block.gamma == 1e-6).all() for block in blocks)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}


def test_conv2next_weights_are_truncated_normal_with_zero_biases():
    torch.manual_seed(0)
    model = build_model("conv2next", (3, 8, 8), 10)
    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert all((layer.bias == 0).all() for layer in layers)
    for layer in layers:
        count = layer.weight.numel()
        error = 0.02 / (2 * count) ** 0.5  # standard error of a standard deviation
        assert abs(layer.weight.std() - 0.02) < 6 * error + 1e-4 and abs(layer.weight.mean()) < 6 * 0.02 / count**0.5


def test_conv2next_drops_no_path_by_default_and_more_in_later_blocks_when_asked():
    assert drop_rates(build_model("conv2next", (3, 8, 8), 10)) == []
    rates = drop_rates(build_model("conv2next", (3, 8, 8), 10, drop_path=0.1))
    # The first block's rate is 0, which needs no module.
    assert rates == pytest.approx(torch.linspace(0, 0.1, 18).tolist()[1:])


# --- Swin-T


def test_swin_t_is_torchvisions_with_its_default_drop_path():
    torch.manual_seed(0)
    ours = build_model("swin_t", (3, 64, 64), 200)
    torch.manual_seed(0)
    theirs = load("torchvision.models").swin_t(num_classes=200)
    assert drop_rates(ours) == drop_rates(theirs) and max(drop_rates(ours)) == 0.2
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
    assert set(drop_rates(build_model("swin_t", (3, 64, 64), 200, drop_path=0.0))) == {0.0}


@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 64, 64), (4, 50, 70)])
def test_swin_t_takes_other_sizes_and_channels(shape):
    torch.manual_seed(0)
    model = build_model("swin_t", shape, 200).eval()
    with torch.no_grad():
        assert model(torch.randn(1, *shape)).shape == (1, 200)
    patches = model.get_submodule("features.0.0")
    bound = (16 * shape[0]) ** -0.5  # PyTorch's default for convolutions: uniform within 1/sqrt(fan in)
    assert patches.weight.abs().max() <= bound and patches.weight.std() > 0.5 * bound
