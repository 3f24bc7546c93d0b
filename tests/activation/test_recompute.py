"""An activation after a batch norm keeps nothing of its own, and its gradient is bit for bit that of a saved input."""

import copy

import pytest
import torch
from recompute_sites import TABLE, again, gradients, hidden, norm, storages, with_sites
from torch import nn

from sugar_search.activation.recompute import recomputed_relu, rerun, source_of
from sugar_search.models import resnet18, vgg16


@pytest.mark.parametrize("dims", (1, 2, 3))
@pytest.mark.parametrize(
    ("x_type", "parameters"),
    [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_the_same_operator_gives_the_same_bits(dims, x_type, parameters):
    for channels_last in (False, True) if dims > 1 else (False,):
        for options in ({}, {"track_running_stats": False}, {"momentum": None, "eps": 0.1}):
            for training in (True, False):
                layer = norm(dims, dtype=parameters, **options).train(training)
                y = layer(hidden(dims, x_type, channels_last))
                state = copy.deepcopy(layer.state_dict())
                source = source_of(y)
                again = rerun(source.tensors, source.norm)
                assert torch.equal(again, y) and again.stride() == y.stride() and again.dtype == y.dtype
                assert all(torch.equal(state[name], value) for name, value in layer.state_dict().items())


NETS = {
    "resnet18": (lambda: resnet18.build((3, 16, 16), 10), 9, 17),
    "vgg16": (lambda: vgg16.build((3, 32, 32), 10), 13, 13),
    "vgg16 without norms": (lambda: vgg16.build((3, 32, 32), 10, batch_norm=False), 0, 13),
}


@pytest.mark.parametrize("name", NETS)
def test_networks_keep_nothing_more_and_have_the_same_gradients(name):
    build, eligible, total = NETS[name]
    torch.manual_seed(0)
    plain = build()
    x = torch.randn(2, 3, 32 if "vgg" in name else 16, 32 if "vgg" in name else 16)
    saving, computing = with_sites(plain, False), with_sites(plain, True)
    for training in (True, False):
        for model in (saving, computing):
            model.train(training)
        wanted, got = gradients(saving, x), gradients(computing, x)
        assert all(torch.equal(a, b) for a, b in zip(wanted, got))
    assert again(computing) == 2 * eligible
    for model in (plain, saving, computing):
        model.train()
        model.zero_grad()
    sizes = {}
    for label, model in (("plain", plain), ("saving", saving), ("computing", computing)):
        y = model(x.requires_grad_())
        sizes[label] = storages(y, model)
    assert len(sizes["saving"]) - len(sizes["computing"]) == eligible
    if eligible == total:
        assert len(sizes["computing"]) == len(sizes["plain"])
        assert sum(sizes["computing"].values()) == sum(sizes["plain"].values())


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
@pytest.mark.parametrize("inplace", (False, True))
def test_gradients_in_channels_last_and_under_autocast(dtype, inplace):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
    )
    net = net.to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 9, 9).to(memory_format=torch.channels_last)
    saving, computing = with_sites(net, False), with_sites(net, True, inplace)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        wanted, got = gradients(saving, x), gradients(computing, x)
    assert all(torch.equal(a, b) for a, b in zip(wanted, got)) and again(computing) == 2
    assert all(torch.equal(a, b) for a, b in zip(saving.state_dict().values(), computing.state_dict().values()))


def test_in_place_keeps_no_copy():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3))
    computing = with_sites(net, True, inplace=True)
    x = torch.randn(2, 3, 9, 9, requires_grad=True)
    assert len(storages(computing(x), computing)) == len(storages(net(x), net))


def test_in_place_the_input_becomes_the_output():
    grads = []
    for inplace in (True, False):
        x = hidden()
        y = norm()(x)
        z = recomputed_relu(y, TABLE, source_of(y), inplace)
        assert (z is y) == inplace
        grads.append(torch.autograd.grad((y if inplace else z).square().sum(), x)[0])
    assert torch.equal(*grads)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.float16))
@pytest.mark.parametrize("cudnn", (True, False))
def test_cuda(dtype, cudnn):
    for dims in (1, 2, 3):
        for channels_last in (False, True) if dims > 1 else (False,):
            for training in (True, False):
                layer = norm(dims, dtype=torch.float32).cuda().train(training)
                with torch.backends.cudnn.flags(enabled=cudnn):
                    y = layer(hidden(dims, dtype, channels_last).cuda())
                source = source_of(y)
                again = rerun(source.tensors, source.norm)
                assert torch.equal(again, y) and again.stride() == y.stride()
