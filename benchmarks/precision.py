"""Worst gradient error of every surrogate family, over max |g|, in float32, bfloat16 and float16.

Inputs: all finite bfloat16 and float16 values, and 40,002 float32 values (0 and both signs, log-spaced from 1e-30 to
1e30, and even ones on [-20, 20]). 50-digit arithmetic is slow, so the truth is 50 digits on a subset and float64
elsewhere: the subset holds the extremes, an even sample, and the points that look worst against float64, at least
`--points` (2,000) a type. The float64 values themselves are checked against the 50-digit ones on that subset
("float64" column).

    python benchmarks/precision.py [--points N] [FAMILY ...]     about ten seconds on one core
"""

import argparse

import torch

from sugar_search import catalog
from sugar_search.activation.accuracy import DTYPES, inputs
from sugar_search.activation.exact import compile_tape
from sugar_search.activation.module import SugarReLU
from sugar_search.symbolic.surrogate import surrogate

WORST = 200


def gradient(activation, x):
    x = x.clone().requires_grad_()
    activation(x).backward(torch.ones_like(x))
    return x.grad.double()


def measure(name, dtype, points):
    """Worst error of the gradient and of the float64 form, over max |g|."""
    made, x = surrogate(name), inputs(dtype)
    got, fine = gradient(SugarReLU(made), x), compile_tape(made.tape)(x.double())
    scale = fine.abs().max()
    suspects = (got - fine).abs().topk(WORST).indices
    even = torch.linspace(0, len(x) - 1, points).round().long()
    chosen = torch.cat([suspects, even]).unique()
    exact = torch.tensor([float(made.tape.mpmath(float(v), 50)) for v in x[chosen]], dtype=torch.float64)
    worst = max((got[chosen] - exact).abs().max(), (got - fine).abs().max())
    return float(worst / scale), float((fine[chosen] - exact).abs().max() / scale)


def main():
    parser = argparse.ArgumentParser(description="Worst gradient error per family")
    parser.add_argument("--points", type=int, default=2000, help="50-digit points a type (default 2000)")
    parser.add_argument("families", nargs="*", help="default: all")
    arguments = parser.parse_args()
    print(f"worst |gradient - g| / max |g|; torch {torch.__version__}, cpu; {arguments.points}+ 50-digit points a type")
    print(f"{'family':<18}" + "".join(f"{d:>12}" for d in DTYPES) + f"{'float64':>12}")
    for name in arguments.families or catalog.names("surrogates"):
        errors = [measure(name, dtype, arguments.points) for dtype in DTYPES.values()]
        row = [worst for worst, _ in errors] + [max(fine for _, fine in errors)]
        print(f"{name:<18}" + "".join(f"{value:>12.1e}" for value in row), flush=True)


if __name__ == "__main__":
    main()
