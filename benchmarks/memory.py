"""Memory that activations keep for the backward pass, in bits per element beyond their output.

Counted are the unique storages that can be reached from the loss through autograd's graph, without parameters, buffers,
tables (16 KiB a site) and inputs, in one training forward pass. From them those of the same network with nn.ReLU are
taken, which keeps the output alone. Elements are those of all activation outputs.

    python benchmarks/memory.py [--net NAME ...] [--batch N]
"""

import argparse
import copy

import torch
from paired import machine
from torch import nn
from torch.nn import functional as F

import sugar_search as ss
from sugar_search.models._model import build_model, find_arch
from sugar_search.vision import load

NETS = {"resnet18": 32, "vgg16": 32, "swin_t": 64}  # pixels
OURS = {
    "table, exact": {},
    "table, recompute": {"memory": "recompute"},
    "8 bits": {"memory": "bits8"},
    "4 bits": {"memory": "bits4"},
    "literal FGI (eqs. 5, 6)": {"method": "direct"},
}


def storages(loss, model, inputs):
    """Bytes by address of what the graph keeps."""
    tables = [m.table for m in model.modules() if isinstance(m, ss.SugarReLU) and m.table is not None]
    kept = (*model.parameters(), *model.buffers(), *tables, *inputs)
    own = {tensor.untyped_storage().data_ptr() for tensor in kept}
    found, seen, waiting = {}, set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
        for tensor in _saved(node):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = storage.nbytes()
    return found


def _saved(node):
    kept = [getattr(node, name) for name in dir(node) if name.startswith("_saved_") and "hooks" not in name]
    kept += list(getattr(node, "saved_tensors", ()))
    return [tensor for tensor in kept if isinstance(tensor, torch.Tensor)]


def replaced(model, kinds, make):
    """The model with another module at every activation site."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kinds):
                setattr(parent, name, make())
    return model


def measure(model, batch, pixels, elements=False):
    """Bytes kept, gradients, and the number of activation elements."""
    torch.manual_seed(1)
    inputs = torch.randn(batch, 3, pixels, pixels)
    targets = torch.randint(0, 10, (batch,))
    count = []
    if elements:
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(lambda m, i, output: count.append(output.numel()))
    loss = F.cross_entropy(model(inputs), targets)
    kept = sum(storages(loss, model, (inputs, targets)).values())
    loss.backward()
    return kept, [p.grad for p in model.parameters()], sum(count)


def report(name, batch):
    pixels, arch = NETS[name], find_arch(name)
    torch.manual_seed(0)
    model = build_model(name, (3, pixels, pixels), 10)
    kinds = (nn.GELU,) if "gelu" in arch.sites else (nn.ReLU,)
    plain = replaced(model, kinds, nn.ReLU)
    for module in plain.modules():
        if type(module).__name__ == "StochasticDepth":
            module.p = 0.0  # its draws and those of codes share a generator: gradients could not be compared
    base, _, elements = measure(copy.deepcopy(plain), batch, pixels, elements=True)
    efficient = load("timm.layers.activations_me")
    print(f"\n{name}, {batch} images of {pixels} pixels, {elements:,} activation elements")
    print(f"  {'case':<30}{'MB kept':>9}{'x nn.ReLU':>11}{'bits per element beyond y':>28}   gradients")
    print(f"  {'nn.ReLU':<30}{base / 1e6:>9.1f}{1:>11.3f}{0:>28.2f}")
    exact = None
    for label, options in OURS.items():
        kept, grads, _ = measure(ss.convert(copy.deepcopy(plain), "bsilu", **options), batch, pixels)
        exact = grads if exact is None else exact
        same = "bit-equal to exact" if all(map(torch.equal, grads, exact)) else f"{_distance(grads, exact):.1e} off"
        row(label, kept, base, elements, same)
    for label, made in (("timm SwishMe", efficient.SwishMe), ("timm MishMe", efficient.MishMe), ("nn.SiLU", nn.SiLU)):
        row(label, measure(replaced(plain, (nn.ReLU,), made), batch, pixels)[0], base, elements, "")


def row(label, kept, base, elements, note):
    bits = 8 * (kept - base) / elements
    print(f"  {label:<30}{kept / 1e6:>9.1f}{kept / base:>11.3f}{bits:>28.2f}   {note}", flush=True)


def _distance(grads, exact):
    """The difference's norm over the gradient's."""
    first, second = (torch.cat([g.flatten() for g in each]) for each in (grads, exact))
    return ((first - second).norm() / second.norm()).item()


def main():
    parser = argparse.ArgumentParser(description="Bits that activations keep for the backward pass")
    parser.add_argument("--net", action="append", choices=NETS, help="default: all")
    parser.add_argument("--batch", type=int, default=16, help="images (default 16)")
    arguments = parser.parse_args()
    print(machine(torch.device("cpu"), torch.get_num_threads()))
    for name in arguments.net or NETS:
        report(name, arguments.batch)


if __name__ == "__main__":
    main()
