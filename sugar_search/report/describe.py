"""A surrogate described in text, for `sugar-search show`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sympy import Expr

from sugar_search.activation.accuracy import below, code_errors
from sugar_search.activation.table.words import TableFacts, table_facts
from sugar_search.errors import InputError
from sugar_search.report.notation import latex, pretty
from sugar_search.symbolic.certificates.certificate import Certificate, certificate
from sugar_search.symbolic.certificates.words import certificate_lines
from sugar_search.symbolic.integration.antiderivative import antiderivative
from sugar_search.symbolic.nearest import Nearest, nearest
from sugar_search.symbolic.surrogate import Surrogate, surrogate
from sugar_search.symbolic.text import to_text

__all__ = ["Description", "describe", "find", "to_json", "to_lines"]

BARS = " ▁▂▃▄▅▆▇█"
POINTS = (-5.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 5.0)
REACH = 6.0  # the sketch covers [-REACH, REACH]
WIDTH = 14  # of the column of labels


@dataclass(frozen=True)
class Description:
    """Everything that `show` tells of a surrogate.

    Attributes:
        surrogate: the subject.
        activation: an f with f' = g, or None.
        origin: where the activation is from: "given", "found" (here, with f(0) = 0) or "none found".
        certificate: what is proven of g.
        nearest: the closest known surrogate.
        errors: worst error of the emitted code over max |g|, by floating type.
        table: what gradients are read from.
    """

    surrogate: Surrogate
    activation: Expr | None
    origin: str
    certificate: Certificate
    nearest: Nearest
    errors: dict[str, float]
    table: TableFacts


def find(text: str, out: Path) -> Surrogate:
    """The surrogate that a name, a formula or STUDY#TRIAL stands for.

    Raises:
        InputError: no such study, trial or family, or a formula that is refused.
    """
    if match := re.fullmatch(r"([^#()]+)#(\d{1,9})", text):
        from sugar_search.search.view import read_study  # imports Optuna, which no formula needs

        study = read_study(match[1], out)
        for trial in study.trials:
            if trial.number == int(match[2]):
                return trial.surrogate
        raise InputError(
            "STUDY#TRIAL must name a trial of the study", text, f"it has trials 0 to {len(study.trials) - 1}"
        )
    return surrogate(text)


def describe(subject: Surrogate) -> Description:
    """Looks everything up; at most some seconds, where sympy searches for an activation."""
    activation, origin = subject.activation, "given"
    if activation is None:
        activation = antiderivative(subject.derivative)
        origin = "none found" if activation is None else "found"
    proven, known = certificate(subject.tape), nearest(subject)
    return Description(subject, activation, origin, proven, known, code_errors(subject), table_facts(subject.tape))


def to_lines(about: Description) -> str:
    """The description for a terminal."""
    subject = about.surrogate
    rows = [("surrogate", subject.title), ("id", subject.id), ("source", subject.source)]
    if subject.parameters:
        rows += [("parameters", ", ".join(f"{name} = {value:.10g}" for name, value in subject.parameters))]
    rows += [("derivative", subject.text), ("LaTeX", latex(subject.derivative))]
    if about.activation is None:
        rows += [("activation", "none given, and none found in closed form")]
    else:
        told = " (found here, with f(0) = 0)" if about.origin == "found" else ""
        rows += [("activation", to_text(about.activation) + told), ("LaTeX", latex(about.activation))]
    rows += certificate_lines(about.certificate)
    rows += [("table", str(about.table)), ("code errors", _errors(about)), ("nearest known", _nearest(about))]
    values = subject.tape.numpy(np.array(POINTS))
    rows += [("values", "  ".join(f"g({p:g})={v:.4g}" for p, v in zip(POINTS, values)))]
    rows += [("sketch", f"{_sketch(subject)}  on [-{REACH:g}, {REACH:g}]")]
    return "\n".join([f"g(x) =\n{pretty(subject.derivative)}\n", *(f"{label:<{WIDTH}}{text}" for label, text in rows)])


def to_json(about: Description) -> str:
    """The description as one JSON object."""
    subject = about.surrogate
    known = about.nearest.surrogate
    content: dict[str, Any] = {
        "event": "surrogate",
        "title": subject.title,
        "id": subject.id,
        "source": subject.source,
        "parameters": dict(subject.parameters),
        "derivative": subject.text,
        "latex": latex(subject.derivative),
        "activation": None if about.activation is None else to_text(about.activation),
        "activation_origin": about.origin,
        "certificate": about.certificate.to_dict(),
        "nearest": {"title": known.title, "formula": known.text, "distance": about.nearest.distance},
        "table": about.table.to_dict(),
        "code_errors": {name: _plain(value) for name, value in about.errors.items()},
    }
    return json.dumps(content, allow_nan=False)


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _errors(about: Description) -> str:
    found = ", ".join(f"{name} {value:.1e}" for name, value in about.errors.items())
    tiny = "".join(f"; g is below {name}'s smallest normal numbers" for name in below(about.surrogate))
    return f"{found} (worst |code - g| over max |g|){tiny}"


def _nearest(about: Description) -> str:
    known, away = about.nearest.surrogate, about.nearest.distance
    if away == 0:
        return f"{known.title} (the same function)"
    return f"{known.title}, at distance {away:.3g} (root mean square for z ~ N(0, 1))"


def _sketch(found: Surrogate, width: int = 49) -> str:
    values = found.tape.numpy(np.linspace(-REACH, REACH, width))
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    steps = np.rint((values - low) / (high - low) * (len(BARS) - 1)).astype(int)
    return "".join(BARS[s] for s in steps)
