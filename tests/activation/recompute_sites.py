"""Networks whose activations save their input, or compute it again where they can."""

import copy

import torch
from torch import nn

from sugar_search.activation.recompute import recomputed_relu, source_of
from sugar_search.activation.table.layout import CELLS, HIGH, LOW, OCTAVES, PIECES, SCALE, VERSION, WORDS
from sugar_search.activation.tabled import table_relu


def words():
    """A table of four pieces: 0 < g where x < 0, so that plain ReLU's gradient would be seen."""
    table = torch.zeros(WORDS, dtype=torch.int32)
    table[:3] = torch.tensor([VERSION, 0, 4])
    floats = table.view(torch.float32)
    floats[SCALE], floats[LOW], floats[HIGH] = 2.0, 0.25, 2.0
    for sign in range(2):
        table[CELLS + OCTAVES * sign : CELLS + OCTAVES * (sign + 1)] = 2 * sign << 5 | 31
        table[CELLS + OCTAVES * sign + 8 : CELLS + OCTAVES * (sign + 1)] = (2 * sign + 1) << 5 | 31
    floats[PIECES : PIECES + 16] = torch.tensor(
        [[1.0, 0, 0, 0], [1.5, 0, 0, 0], [0.5, -0.25, 0, 0], [0.25, 0, 0, 0]]
    ).flatten()
    return table


TABLE = words()


class Site(nn.Module):
    """The activation of these tests: x is saved, or computed again where it can be."""

    def __init__(self, recompute, inplace=False):
        super().__init__()
        self.recompute, self.inplace, self.again = recompute, inplace, 0

    def forward(self, x):
        source = source_of(x) if self.recompute else None
        if source is None:
            return table_relu(x, TABLE, self.inplace)
        self.again += 1
        return recomputed_relu(x, TABLE, source, self.inplace)


def with_sites(model, recompute, inplace=False):
    """A copy of `model` whose ReLUs are `Site`s."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, Site(recompute, inplace))
    return model


def two_layers():
    first = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*first, nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def again(model):
    return sum(site.again for site in model.modules() if isinstance(site, Site))


def gradients(model, x):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = model(x)
    y.float().square().sum().backward()
    return [x.grad, *(p.grad for p in model.parameters())]


def storages(y, model):
    """Bytes of each storage that the graph of `y` saves, without the model's own and the table: address -> bytes."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), TABLE)}
    saved, seen, waiting = {}, {y.grad_fn}, [y.grad_fn]
    while waiting:
        node = waiting.pop()
        names = [name for name in dir(node) if name.startswith("_saved_")]
        tensors = [getattr(node, name) for name in names] + list(getattr(node, "saved_tensors", ()))
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in own:
                saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        new = {following for following, _ in node.next_functions if following is not None} - seen
        seen |= new
        waiting += new
    return saved


def norm(dims=2, channels=4, dtype=torch.float32, **options):
    layer = getattr(nn, f"BatchNorm{dims}d")(channels, **options).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            if tensor is not None:
                tensor.copy_(torch.rand(channels, generator=generator) + 0.5)
    return layer


def hidden(dims=2, dtype=torch.float32, channels_last=False):
    x = torch.randn(3, 4, *[5] * dims, generator=torch.Generator().manual_seed(2)).to(dtype)
    if channels_last:
        x = x.to(memory_format=torch.channels_last if dims == 2 else torch.channels_last_3d)
    # Not a leaf, as in a network.
    return x.requires_grad_().mul(1)
