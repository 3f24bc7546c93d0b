"""How many activations follow a batch norm: read from the code, and counted in a run."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sugar_search.activation.eligible import eligible_in_run, eligible_sites
from sugar_search.errors import InputError
from sugar_search.models import resnet18, swin_t, vgg16
from sugar_search.vision import load


class Functional(nn.Module):
    """One activation of each place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.BatchNorm2d(4) for _ in range(4))

    def forward(self, x):
        x = self.conv(x)
        after = F.relu(self.norm1(x), inplace=True)
        method = self.norm2(after).relu()
        written = self.norm3(method)
        written.add_(after)
        added = torch.relu(written)
        return torch.relu_(self.norm4(added)) + F.relu6(added) + F.hardtanh(added)


class Branching(nn.Module):
    """Its code depends on values."""

    def forward(self, x):
        return torch.relu(x) if x.sum() > 0 else x


NETS = {
    "resnet18": (lambda: resnet18.build((3, 16, 16), 10), 16, "relu", (9, 17)),
    "vgg16": (lambda: vgg16.build((3, 32, 32), 10), 32, "relu", (13, 13)),
    "vgg16 without norms": (lambda: vgg16.build((3, 32, 32), 10, batch_norm=False), 32, "relu", (0, 13)),
    "functional": (Functional, 8, ("relu", "relu6"), (3, 5)),
    "torchvision's resnet18": (lambda: load("torchvision.models").resnet18(), 32, "relu", (9, 17)),
    "densenet121": (lambda: load("torchvision.models").densenet121(), 32, "relu", (121, 121)),
    "mobilenet_v2": (lambda: load("torchvision.models").mobilenet_v2(), 32, "relu6", (35, 35)),
}


@pytest.mark.parametrize("name", NETS)
def test_both_counts_agree(name):
    build, size, kinds, wanted = NETS[name]
    net = build()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    assert eligible_sites(net, kinds) == wanted
    assert eligible_in_run(net, torch.randn(2, 3, size, size, generator=torch.Generator()), sites=kinds) == wanted
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_what_cannot_be_traced():
    assert eligible_sites(Branching()) is None
    assert eligible_in_run(Branching(), torch.ones(3)) == (0, 1)


def test_a_shared_activation_counts_with_every_call():
    shared = nn.ReLU()
    net = nn.Sequential(nn.BatchNorm1d(3), shared, nn.Linear(3, 3), shared)
    assert eligible_sites(net) == eligible_in_run(net, torch.randn(4, 3)) == (1, 2)


NOT_READ = [
    nn.BatchNorm1d(3, affine=False),
    nn.BatchNorm1d(3).requires_grad_(False),
    nn.SyncBatchNorm(3),
    nn.LayerNorm(3),
]


@pytest.mark.parametrize("norm", NOT_READ, ids=lambda norm: type(norm).__name__)
def test_norms_that_are_not_read(norm):
    assert eligible_sites(nn.Sequential(norm, nn.ReLU())) == (0, 1)


def test_a_subclass_of_a_norm():
    class Named(nn.BatchNorm1d):
        pass

    class Doubling(nn.BatchNorm1d):
        def forward(self, input):
            return 2 * super().forward(input)

    assert eligible_sites(nn.Sequential(Named(3), nn.ReLU())) == (1, 1)
    assert eligible_sites(nn.Sequential(Doubling(3), nn.ReLU())) == (0, 1)
    assert eligible_in_run(nn.Sequential(Named(3), nn.ReLU(), Doubling(3), nn.ReLU()), torch.randn(4, 3)) == (1, 2)


def test_a_network_without_any():
    net = swin_t.build((3, 32, 32), 10)
    assert eligible_sites(net, "relu") in (None, (0, 0))


def test_unknown_kinds_are_refused():
    for count in (lambda: eligible_sites(nn.ReLU(), "tanh"), lambda: eligible_in_run(nn.ReLU(), sites="tanh")):
        with pytest.raises(InputError, match="kinds of activation"):
            count()
