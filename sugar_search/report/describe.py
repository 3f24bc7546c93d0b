"""A surrogate described in text, for `sugar-search show`."""

import re
from pathlib import Path

import numpy as np
import sympy

from sugar_search import catalog
from sugar_search.errors import FormulaError, InputError
from sugar_search.search.view import read_study
from sugar_search.symbolic.family import load
from sugar_search.symbolic.surrogate import Surrogate, surrogate

__all__ = ["describe", "find"]

BARS = " ▁▂▃▄▅▆▇█"
POINTS = (-5.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 5.0)
REACH = 6.0  # the sketch covers [-REACH, REACH]


def find(text: str, out: Path) -> Surrogate:
    """The surrogate that a name, a formula or STUDY#TRIAL stands for.

    Raises:
        InputError: no such study, trial or family, or a formula that is refused.
    """
    if match := re.fullmatch(r"([^#()]+)#(\d{1,9})", text):
        study = read_study(match[1], out)
        for trial in study.trials:
            if trial.number == int(match[2]):
                return trial.surrogate
        raise InputError(
            "STUDY#TRIAL must name a trial of the study", text, f"it has trials 0 to {len(study.trials) - 1}"
        )
    return surrogate(text)


def describe(text: str, out: Path) -> str:
    """Formula, LaTeX, activation, values and a sketch of a surrogate, as lines of text."""
    found = find(text, out)
    x = np.linspace(-20.0, 20.0, 400_001)
    g = found.tape.numpy(x)
    low, high = int(np.argmin(g)), int(np.argmax(g))
    weight = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    gain = float(np.trapezoid(g * g * weight, x)) / 0.5
    lines = [
        f"surrogate   {found.title}",
        f"derivative  {found.text}",
        f"LaTeX       {sympy.latex(found.derivative)}",
        f"activation  {found.activation_text or 'none given'}",
        f"source      {found.source}",
        f"id          {found.id}",
        f"value at 0  {found.value_at_zero:.6g}",
        f"minimum     {g[low]:.6g} at x = {x[low]:.4f} (on [-20, 20])",
        f"maximum     {g[high]:.6g} at x = {x[high]:.4f} (on [-20, 20])",
        f"gain        {gain:.4g} (E[g(z)^2] / 0.5 for z ~ N(0, 1); ReLU has 1)",
        f"known as    {_known(found)}",
        "values      " + "  ".join(f"g({p:g})={v:.4g}" for p, v in zip(POINTS, found.tape.numpy(np.array(POINTS)))),
        f"sketch      {_sketch(found)}  on [-{REACH:g}, {REACH:g}]",
    ]
    return "\n".join(lines)


def _known(found: Surrogate) -> str:
    """The family member with the same canonical form: with default parameters, or those of the formula's numbers."""
    for name in catalog.names("surrogates"):
        if surrogate(name) == found:
            return surrogate(name).title
    numbers = sorted({float(n) for n in found.derivative.atoms(sympy.Number)})
    for name in catalog.names("surrogates"):
        parameters = load(name).parameters
        if len(parameters) != 1:
            continue
        for number in numbers:
            try:
                member = surrogate(name, **{parameters[0].name: number})
            except (InputError, FormulaError):
                continue
            if member == found:
                return member.title
    return "no family"


def _sketch(found: Surrogate, width: int = 49) -> str:
    values = found.tape.numpy(np.linspace(-REACH, REACH, width))
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    steps = np.rint((values - low) / (high - low) * (len(BARS) - 1)).astype(int)
    return "".join(BARS[s] for s in steps)
