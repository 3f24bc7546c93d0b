"""The networks of the paper at sizes small enough for a test, and what their tests share."""

import torch
from torch import nn

from sugar_search.activation.convert import convert
from sugar_search.activation.module import SugarReLU
from sugar_search.models._model import build_model, find_arch

# Arch, shape of a sample, activations that a surrogate replaces.
SMALL = (
    ("resnet18", (3, 8, 8), 17),
    ("vgg16", (3, 32, 32), 13),
    ("conv2next", (3, 8, 8), 18),
    ("conv2next/tiny", (3, 8, 8), 15),
    ("swin_t", (3, 64, 64), 12),
)
CLASSES = {"relu": nn.ReLU, "gelu": nn.GELU}  # what each kind of site is before a conversion


def parameters(model):
    return sum(weights.numel() for weights in model.parameters())


def plain(arch, shape, *, outputs=5, seed=0):
    """The network as it is; its random numbers depend on `seed` alone."""
    torch.manual_seed(seed)
    model = build_model(arch, shape, outputs)
    for name, weights in model.named_parameters():
        if name.endswith("gamma"):
            nn.init.ones_(weights)  # conv2next's 1e-6 would hide every difference at its sites
    return model


def converted(arch, shape, *, surrogate="bsilu", outputs=5, seed=0):
    """The same network with its own sites converted."""
    return convert(plain(arch, shape, outputs=outputs, seed=seed), surrogate, sites=find_arch(arch).sites)


def sites(model):
    return [module for module in model.modules() if isinstance(module, SugarReLU)]
