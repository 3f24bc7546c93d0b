"""Compares an exported module's gradient with 50-digit values of the formula text in trials.csv.

    python benchmarks/exported.py results/STUDY

The formula is looked up in trials.csv by the derivative that the module's docstring names, parsed anew, and evaluated
with mpmath at 10,001 points: evenly spaced on [-10, 10], and log-spaced to 1e4 on both sides. Prints the worst error
over max |g| in float64 and float32.
"""

import csv
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import mpmath
import numpy as np
import torch

from sugar_search.symbolic.surrogate import surrogate

INNER, OUTER = 8001, 1000  # points on [-10, 10], and beyond it on each side


def points() -> np.ndarray:
    """10,001 float32 values, as float64."""
    tail = np.logspace(1, 4, OUTER)
    return np.concatenate([-tail[::-1], np.linspace(-10, 10, INNER), tail]).astype(np.float32).astype(np.float64)


def load(path: Path) -> ModuleType:
    """The module at `path`."""
    spec = importlib.util.spec_from_file_location("best_surrogate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def formula_of(module: ModuleType, folder: Path) -> str:
    """The formula in trials.csv that the module's docstring states as its derivative."""
    stated = re.search(r"derivative: (.*?)\n    [a-z ]+: ", module.__doc__ or "", re.DOTALL)
    assert stated is not None
    wanted = " ".join(stated[1].split())
    with (folder / "trials.csv").open(encoding="utf-8") as file:
        return next(row["formula"] for row in csv.DictReader(file) if " ".join(row["formula"].split()) == wanted)


def main() -> None:
    """Prints one line per type."""
    folder = Path(sys.argv[1])
    module = load(folder / "best_surrogate.py")
    text = formula_of(module, folder)
    x, tape = points(), surrogate(text).tape
    exact = np.array([float(tape.mpmath(mpmath.mpf(v), 50)) for v in x])
    print(f"{text}\n{len(x)} points from {x.min():g} to {x.max():g}, max |g| = {np.abs(exact).max():.6g}")
    for dtype in (torch.float64, torch.float32):
        values = torch.tensor(x, dtype=dtype, requires_grad=True)
        module.SugarReLU()(values).sum().backward()
        assert values.grad is not None
        error = np.abs(values.grad.double().numpy() - exact).max() / np.abs(exact).max()
        print(f"{dtype}: worst error over max |g| {error:.2e}")


if __name__ == "__main__":
    main()
