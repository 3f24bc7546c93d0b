"""One training step of ResNet-18 with a surrogate over the same step with ReLU: interleaved pairs.

The networks have the same weights; each pair runs one step of both, in alternating order. The A/A row is ReLU against
ReLU. The 95 % bound is a bootstrap interval of the median of the paired ratios.

    python benchmarks/step.py [--pairs N] [--threads T] [--batch N] [--pixels N] [--case NAME ...]
"""

import argparse
import copy
import statistics

import torch
from paired import interval, machine, ratios, rounds
from torch.nn import functional as F

import sugar_search as ss
from sugar_search.models._model import build_model

CASES = {
    "A/A: ReLU": None,
    "table": {"surrogate": "bsilu"},
    "table, recompute": {"surrogate": "bsilu", "memory": "recompute"},
    "4 bits": {"surrogate": "bsilu", "memory": "bits4"},
    "formula": {"surrogate": "bsilu", "method": "exact"},
    "literal FGI": {"surrogate": "bsilu", "method": "direct"},
}


def step_of(model, batch, pixels, device):
    model = model.to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(batch, 3, pixels, pixels, generator=generator).to(device)
    targets = torch.randint(0, 10, (batch,), generator=generator).to(device)

    def step():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    return step


def main():
    parser = argparse.ArgumentParser(description="A training step over that with ReLU")
    parser.add_argument("--pairs", type=int, default=300, help="pairs per case (default 300)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--batch", type=int, help="images (default 16 on a CPU, 128 on a GPU)")
    parser.add_argument("--pixels", type=int, default=32, help="height and width (default 32)")
    parser.add_argument("--case", action="append", choices=CASES, help="default: A/A and table")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(arguments.threads)
    batch = arguments.batch or (128 if device.type == "cuda" else 16)
    torch.manual_seed(0)
    plain = build_model("resnet18", (3, arguments.pixels, arguments.pixels), 10)
    chosen = arguments.case or ["A/A: ReLU", "table"]
    print(f"{machine(device, arguments.threads)}; ResNet-18, {batch} images of {arguments.pixels} pixels")
    print(f"  {'case':<20}{'pairs':>7}{'ms':>9}{'ReLU':>9}{'ratio':>9}   95 % of the median")
    for name in chosen:
        model = copy.deepcopy(plain)
        if CASES[name] is not None:
            ss.convert(model, **CASES[name])
        steps = {"ReLU": step_of(copy.deepcopy(plain), batch, arguments.pixels, device)}
        steps[name] = step_of(model, batch, arguments.pixels, device)
        rounds(steps, 3)
        times = rounds(steps, arguments.pairs)
        each = ratios(times, name, "ReLU")
        low, high = interval(each)
        ms = [1000 * statistics.median(times[which]) for which in (name, "ReLU")]
        print(
            f"  {name:<20}{arguments.pairs:>7}{ms[0]:>9.2f}{ms[1]:>9.2f}{statistics.median(each):>9.4f}"
            f"   {low:.4f} to {high:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
