"""Draws docs/surrogates.svg: ReLU's own derivative and three surrogates.

Run from the repository: pip install matplotlib && python docs/surrogates.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sugar_search.symbolic.surrogate import surrogate

SHOWN = (("relu", "#222222"), ("bsilu", "#1f5fbf"), ("nelu(alpha=0.1)", "#c0392b"), ("elu", "#2e8b57"))


def main() -> None:
    """Writes the picture beside this file."""
    x = np.linspace(-5, 5, 2001)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    left.plot(x, np.maximum(x, 0), color="#222222")
    left.set_title("forward: always ReLU")
    for name, color in SHOWN:
        found = surrogate(name)
        right.plot(x, found.tape.numpy(x), color=color, label=found.title, linestyle="--" if name == "relu" else "-")
    right.set_title("backward: a surrogate derivative")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.axvline(0, color="#cccccc", linewidth=0.8, zorder=0)
        axes.set_xlabel("x")
    plt.rcParams["svg.hashsalt"] = "sugar-search"
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
