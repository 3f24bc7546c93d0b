"""Networks of torchvision and timm: every activation of the kinds asked for is replaced, and nothing else changes."""

import copy
from collections import Counter

import pytest
import torch

from sugar_search.activation.convert import convert, sites
from sugar_search.vision import load

OURS = {"_EagerTableReLUBackward", "_TableReLUInPlaceBackward"}

# Library, name, image size, options, kind, sites as modules and as calls.
NETWORKS = [
    ("torchvision.models", "googlenet", 64, {"init_weights": False}, "relu", (0, 61)),
    ("torchvision.models", "squeezenet1_1", 64, {}, "relu", (26, 0)),
    ("torchvision.models", "densenet121", 32, {}, "relu", (120, 1)),
    ("torchvision.models", "mobilenet_v2", 32, {}, "relu6", (35, 0)),
    ("torchvision.models", "mnasnet0_5", 32, {}, "relu", (35, 0)),
    ("timm.models", "resnet18", 32, {}, "relu", (17, 0)),
    ("timm.models", "convnext_atto", 32, {}, "gelu", (0, 12)),
    ("timm.models", "efficientnet_b0", 32, {}, "silu", (49, 0)),
]


def graph(y):
    """How many nodes of each name the backward graph of `y` has."""
    counts, seen, waiting = Counter(), set(), [y.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            counts[node.name()] += 1
            waiting += [following for following, _ in node.next_functions]
    return counts


def total(net, x):
    torch.manual_seed(3)
    y = net(x)
    return y.sum() if isinstance(y, torch.Tensor) else sum(part.sum() for part in y)


@pytest.mark.parametrize(
    ("library", "name", "size", "options", "kind", "found"),
    [pytest.param(*n, id=n[1]) for n in NETWORKS],
)
def test_network(library, name, size, options, kind, found):
    torch.manual_seed(0)
    net = getattr(load(library), name)(**options)
    plain = copy.deepcopy(net)
    listed = sites(net, kind)
    assert (sum(not s.place for s in listed), sum(bool(s.place) for s in listed)) == found
    convert(net, "bsilu", sites=kind)
    assert list(net.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 3, size, size)
    before, after = total(plain, x), total(net, x)
    theirs, ours = graph(before), graph(after)
    replaced = {"relu": "ReluBackward0", "gelu": "GeluBackward0", "silu": "SiluBackward0", "relu6": "HardtanhBackward0"}
    assert theirs[replaced[kind]] > 0 and ours[replaced[kind]] == 0
    assert sum(ours[node] for node in OURS) == theirs[replaced[kind]]
    assert {n: c for n, c in ours.items() if n not in OURS} == {n: c for n, c in theirs.items() if n != replaced[kind]}
    if kind == "relu":
        assert torch.equal(before, after)
    after.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
