"""Pictures: one surrogate for `show --plot`, and Figures 1 and 8 of the paper with the numbers that they draw."""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sugar_search.errors import FileError
from sugar_search.symbolic.surrogate import Surrogate, surrogate
from sugar_search.symbolic.tape import Tape
from sugar_search.training.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sugar_search.report.describe import Description

__all__ = ["FIGURES", "check_picture", "draw_surrogate", "figure_frame", "write_figure"]

REACH = 6.0
DENSITY = 400  # points a unit
DOTS = 150  # per inch
LONGEST_NAME = 200  # of the 255 bytes that file systems allow, as the draft beside it has a longer name
GREY = {"color": "0.45", "linestyle": "--", "linewidth": 1.2}
NELU_ALPHA = 0.1  # Figure 1 does not give it; the largest that the paper trains with, as smaller ones hardly show


@dataclass(frozen=True)
class Sheet:
    """A figure of the paper.

    Attributes:
        description: what is drawn, and where it is our choice.
        reach: x from -reach to reach.
        curves: column name -> values on x, in the order in which they are drawn.
        draw: puts the columns on a figure of its own.
    """

    description: str
    reach: float
    curves: Callable[[np.ndarray], dict[str, np.ndarray]]
    draw: Callable[[pd.DataFrame], "Figure"]


def check_picture(path: Path) -> None:
    """Refuses a picture that could not be written, before any work.

    Raises:
        FileError: another suffix than .png, too long a name, or a folder that is missing or not writable.
    """
    if path.suffix.lower() != ".png":
        raise FileError("a plot must be a .png file", str(path), "name it like plot.png")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise FileError(
            f"a plot's file name must have at most {LONGEST_NAME} bytes", str(path), "name it like plot.png"
        )
    if path.is_dir() or not path.parent.is_dir():
        raise FileError("a plot must be a file in an existing folder", str(path), "make the folder first")
    probe = path.with_name(f".{path.name}.{os.getpid()}.try")
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise FileError("a plot must lie in a folder you may write to", str(path), str(error.strerror)) from None


def draw_surrogate(about: "Description", path: Path) -> None:
    """The derivative and, where it is known, the activation, with ReLU's dashed, as a .png file.

    Raises:
        FileError: the file cannot be written.
    """
    x = _axis(REACH)
    figure = _figure(1 if about.activation is None else 2)
    left = figure.axes[0]
    left.plot(x, _heaviside(x), label="ReLU", **GREY)
    _plot(left, x, about.surrogate.tape.numpy(x), "C0", about.surrogate)
    left.set_title("derivative g(x)")
    if about.activation is not None:
        right = figure.axes[1]
        right.plot(x, np.maximum(x, 0), label="ReLU", **GREY)
        right.plot(x, Tape.of(about.activation).numpy(x), color="C0")
        right.set_title("activation f(x), f' = g")
    name = about.surrogate.title
    figure.suptitle(name if len(name) <= 90 else name[:87] + "...")
    left.legend(loc="upper left", frameon=False)
    write_atomically(path, _png(figure))


def figure_frame(name: str) -> pd.DataFrame:
    """The numbers that a figure of the paper draws: x and one column a curve."""
    sheet = FIGURES[name]
    x = _axis(sheet.reach)
    return pd.DataFrame({"x": x} | sheet.curves(x))


def write_figure(name: str, out: Path) -> list[Path]:
    """Writes `out/<name>.png` and `out/<name>.csv`.

    Returns:
        The two paths.

    Raises:
        FileError: the folder cannot be written.
    """
    frame = figure_frame(name)
    paths = [out / f"{name}.png", out / f"{name}.csv"]
    write_atomically(paths[0], _png(FIGURES[name].draw(frame)))
    write_atomically(paths[1], frame.to_csv(index=False, float_format="%.9g").encode())
    return paths


def _axis(reach: float) -> np.ndarray:
    return np.linspace(-reach, reach, int(2 * reach * DENSITY) + 1)


def _heaviside(x: np.ndarray) -> np.ndarray:
    return surrogate("relu").tape.numpy(x)


def _plot(axes: "Axes", x: np.ndarray, values: np.ndarray, color: str, label: Surrogate) -> None:
    """A curve, interrupted where it jumps."""
    gap = np.flatnonzero(np.abs(np.diff(values)) > 0.02 + 20 * np.median(np.abs(np.diff(values)))) + 1
    axes.plot(np.insert(x, gap, np.nan), np.insert(values, gap, np.nan), color=color, label=_short(label.title))


def _short(title: str) -> str:
    return title if len(title) <= 40 else title[:37] + "..."


def _figure(count: int) -> "Figure":
    """A figure with panels side by side; no window system is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * count, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes in np.atleast_1d(figure.subplots(1, count)):
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.set_xlabel("x")
    return figure


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS, metadata={"Software": None})
    return buffer.getvalue()


def _figure_1(x: np.ndarray) -> dict[str, np.ndarray]:
    columns = {"ReLU": np.maximum(x, 0), "ReLU derivative": _heaviside(x)}
    columns["B-SiLU derivative"] = surrogate("bsilu").tape.numpy(x)
    return columns | {"NeLU derivative": surrogate("nelu", alpha=NELU_ALPHA).tape.numpy(x)}


def _draw_1(frame: pd.DataFrame) -> "Figure":
    figure = _figure(3)
    shown = (("ReLU derivative", "black"), ("B-SiLU derivative", "tab:blue"), ("NeLU derivative", "tab:red"))
    for axes, (name, color) in zip(figure.axes, shown, strict=True):
        axes.plot(frame["x"], frame["ReLU"], color="black", linestyle="--", label="ReLU")
        label = f"NeLU derivative (α={NELU_ALPHA:g})" if name.startswith("NeLU") else name
        axes.plot(frame["x"], frame[name], color=color, label=label)
        axes.set_ylim(-0.2, 2.05)
        axes.legend(loc="upper left", frameon=False, fontsize="small")
    return figure


# Drawn in this order, so that ReLU and B-SiLU lie on top.
_FIGURE_8: Mapping[str, tuple[str, dict[str, float]]] = {
    "ELU": ("elu", {}),
    "GELU": ("gelu", {}),
    "SiLU": ("silu", {}),
    "SELU": ("selu", {}),
    "LeakyReLU(0.2)": ("leakyrelu", {"slope": 0.2}),
    "ReLU": ("relu", {}),
    "B-SiLU": ("bsilu", {}),
}


def _figure_8(x: np.ndarray) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for name, (family, parameters) in _FIGURE_8.items():
        made = surrogate(family, **parameters)
        if made.activation_tape is None:
            raise AssertionError(f"{family} has no activation")
        columns[name] = made.activation_tape.numpy(x)
        columns[f"{name} derivative"] = made.tape.numpy(x)
    return columns


def _draw_8(frame: pd.DataFrame) -> "Figure":
    figure = _figure(2)
    bold: dict[str, dict[str, Any]] = {
        "ReLU": {"color": "black", "linewidth": 2.4, "linestyle": "--"},
        "B-SiLU": {"color": "tab:blue", "linewidth": 2.4},
    }
    for axes, suffix, label in zip(figure.axes, ("", " derivative"), ("f(x)", "f'(x)"), strict=True):
        for index, name in enumerate(_FIGURE_8):
            style = bold.get(name, {"color": f"C{index + 1}", "linewidth": 1.2})
            axes.plot(frame["x"], frame[name + suffix], label=name, **style)
        axes.set_ylabel(label)
    figure.axes[0].legend(loc="upper left", frameon=False, fontsize="small")
    return figure


FIGURES: dict[str, Sheet] = {
    "fig1": Sheet(
        "Figure 1: ReLU with its own derivative, with that of B-SiLU and with that of NeLU; the paper does not give "
        f"NeLU's alpha there, and {NELU_ALPHA:g}, the largest it trains with, is drawn",
        2.0,
        _figure_1,
        _draw_1,
    ),
    "fig8": Sheet(
        "Figure 8: activations and derivatives of ELU, GELU, SiLU, SELU, LeakyReLU (slope 0.2), B-SiLU and ReLU",
        4.0,
        _figure_8,
        _draw_8,
    ),
}
