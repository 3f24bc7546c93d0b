"""Four target functions of the dying-ReLU study (regression/f1 ... f4, f4-printed): 3,000 noise-free samples.

Source: equations 10-13 of arXiv 2505.22074, after Lu et al. (arXiv 1903.06733). Equation 13 is printed without absolute
values, which cannot give the losses of the paper's Table 3; f4 has them, as Lu et al. do, and f4-printed has not.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from sugar_search.data._about import Facts
from sugar_search.data._dataset import Dataset, Split

# Name -> input dimensions, function from inputs (samples, dimensions) to targets (samples, outputs).
TARGETS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "f1": (1, torch.abs),
    "f2": (1, lambda x: x * torch.sin(5 * x)),
    "f3": (1, lambda x: (x > 0).to(x.dtype) + 0.2 * torch.sin(5 * x)),
    "f4": (2, lambda x: torch.stack((x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]), dim=1).abs()),
    "f4-printed": (2, lambda x: torch.stack((x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]), dim=1)),
}
VARIANTS: tuple[str, ...] = tuple(TARGETS)
RECIPE = "dying-relu"  # what a search uses when it is given none
SIZES = (3000, 1000, 1000)  # train, validation, test samples
FACTS = {
    variant: Facts((inputs,), inputs, SIZES[0], SIZES[2], natural=False, download_bytes=0, validation=SIZES[1])
    for variant, inputs in {"": 1, "f1": 1, "f2": 1, "f3": 1, "f4": 2, "f4-printed": 2}.items()
}
DATA_SEEDS = (0, 1, 2)  # one per split: all runs of a target share one dataset


def load(variant: str | None = None, *, seed: int = 0, data_dir: Path | None = None, offline: bool = True) -> Dataset:
    """Samples of one target function, inputs from U[-sqrt(3), sqrt(3)] in each dimension.

    Args:
        variant: a name of `VARIANTS`, "f1" by default.
        seed: ignored, the samples are fixed.
        data_dir: ignored, the samples are computed.
        offline: ignored, nothing is downloaded.
    """
    variant = variant or "f1"
    dimensions, function = TARGETS[variant]
    splits = []
    for samples, data_seed in zip(SIZES, DATA_SEEDS):
        uniform = torch.rand(samples, dimensions, generator=torch.Generator().manual_seed(data_seed))
        inputs = (2 * uniform - 1) * math.sqrt(3)
        splits.append(Split(inputs, function(inputs)))
    return Dataset(f"regression/{variant}", "regression", splits[0].targets.shape[1], *splits)
