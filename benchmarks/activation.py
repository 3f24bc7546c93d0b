"""Forward and backward of one activation: time over nn.ReLU's, and bandwidth.

Each round runs every case twice untimed and then for at least 4 million elements, in an order drawn anew; the A/A row
is nn.ReLU against itself. Bytes are those that any ReLU with a gradient must move: x and y forward, the output's
gradient, x and the input's gradient backward. Compiled cases are compiled before the first round. On a GPU the
bandwidth stands beside that of a device copy.

    python benchmarks/activation.py [--threads T] [--rounds N] [--size 2**20 ...] [--dtype float32 ...] [--quick]
"""

import argparse
import statistics

import torch
from paired import interval, machine, ratios, rounds, seconds
from torch import nn
from torch.nn import functional as F

import sugar_search as ss
from sugar_search.activation.fgi import fgi_direct
from sugar_search.activation.kernels import operators

SURROGATES = {
    "B-SiLU": "bsilu",
    "arctan'": "1/(1 + x**2)",
    "hard-swish'": "hardswish",
    "NeLU": "nelu",
    "x/(1+x^2)": "x/(1 + x**2)",
}
BYTES = 5  # elements moved per element: x, y; the output's gradient, x, the input's gradient
ROUNDS = {2**16: 60, 2**20: 200, 2**24: 15}


def cases(compiled):
    plain, bsilu = nn.ReLU(), ss.surrogate("bsilu")
    found = {"nn.ReLU": plain, "A/A: nn.ReLU": nn.ReLU(), "F.silu": F.silu, "F.gelu": F.gelu}
    found |= {f"table {name}": ss.SugarReLU(text, method="table") for name, text in SURROGATES.items()}
    found |= {
        "4 bits B-SiLU": ss.SugarReLU(bsilu, memory="bits4"),
        "4 bits arctan'": ss.SugarReLU("1/(1 + x**2)", memory="bits4"),
        "4 bits hard-swish'": ss.SugarReLU("hardswish", memory="bits4"),
        "8 bits B-SiLU": ss.SugarReLU(bsilu, memory="bits8"),
        "formula (autograd.Function)": ss.SugarReLU(bsilu, method="exact"),
        "literal FGI (eqs. 5, 6)": lambda x: fgi_direct(x, bsilu),
    }
    if compiled:
        found["torch.compile, ReLU"] = torch.compile(F.relu, dynamic=False)
        found["torch.compile, formula"] = torch.compile(ss.SugarReLU(bsilu, method="exact"), dynamic=False)
    return found


def both_ways(activation, x, grad):
    def run():
        y = activation(x)
        torch.autograd.grad(y, x, grad)

    return run


def copy_bandwidth(size, dtype, device):
    source = torch.randn(size, device=device).to(dtype)
    target = torch.empty_like(source)
    times = [seconds(lambda: target.copy_(source), 5) for _ in range(9)]
    return 2 * source.nbytes / min(times) / 1e9


def main():
    parser = argparse.ArgumentParser(description="An activation's time over that of nn.ReLU")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--rounds", type=int, help="rounds (default: by size)")
    parser.add_argument("--size", type=int, action="append", help="elements (default 2^16, 2^20, 2^24)")
    parser.add_argument("--dtype", action="append", choices=("float32", "bfloat16", "float16", "float64"))
    parser.add_argument("--quick", action="store_true", help="without torch.compile")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(arguments.threads)
    kernel = "Triton" if device.type == "cuda" else "C" if operators.native_available() else "torch"
    print(f"{machine(device, arguments.threads)}; kernel: {kernel}")
    for dtype in [getattr(torch, name) for name in arguments.dtype or ("float32", "bfloat16")]:
        for size in arguments.size or ROUNDS:
            report(size, dtype, device, arguments.rounds or ROUNDS.get(size, 20), not arguments.quick)


def report(size, dtype, device, count, compiled):
    x = torch.randn(size, device=device).to(dtype).requires_grad_()
    grad = torch.randn(size, device=device).to(dtype)
    runs = {name: both_ways(activation, x, grad) for name, activation in cases(compiled).items()}
    for run in runs.values():
        for _ in range(3):
            run()
    times = rounds(runs, count, times=max(1, 2**22 // size), settle=2)
    print(f"\n{size:,} elements of {dtype}, {count} rounds, copy {copy_bandwidth(size, dtype, device):.1f} GB/s")
    print(f"  {'case':<30}{'us':>10}{'GB/s':>8}{'x nn.ReLU':>11}   95 % of the median")
    for name in runs:
        each = ratios(times, name, "nn.ReLU")
        low, high = interval(each)
        middle, ratio = statistics.median(times[name]), statistics.median(each)
        speed = BYTES * x.element_size() * size / middle / 1e9
        print(f"  {name:<30}{1e6 * middle:>10,.0f}{speed:>8.1f}{ratio:>11.3f}   {low:.3f} to {high:.3f}", flush=True)


if __name__ == "__main__":
    main()
