"""Parameters that do nothing."""

from collections.abc import Mapping

import numpy as np
from sympy import Expr

from sugar_search.errors import FormulaError
from sugar_search.symbolic import family as families
from sugar_search.symbolic.fingerprint import GRID, alike
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.tape import Tape
from sugar_search.symbolic.text import to_text

__all__ = ["idle_parameters"]


def idle_parameters(template: Expr, values: Mapping[str, float]) -> set[str]:
    """Names of the parameters whose value does not change the function, the others being as given.

    Gone from the template, or of no effect on the function at the given value and four others.

    Args:
        template: the derivative with parameter symbols.
        values: every parameter.
    """
    present = {symbol.name for symbol in template.free_symbols}
    idle = {name for name in values if name not in present}
    text = to_text(template)
    for name in sorted(values.keys() & present):
        try:
            if _is_idle(text, values, name):
                idle.add(name)
        except FormulaError:
            continue  # no formula at another value, so the value matters
    return idle


def _is_idle(text: str, values: Mapping[str, float], name: str) -> bool:
    exact = {other: families.exact(value) for other, value in values.items()}
    tried = (float(values[name]), *_others(float(values[name])))
    # Read afresh, as sympy's substitution may take minutes.
    tape = Tape.of(parse(text, (name,), values={k: v for k, v in exact.items() if k != name}), (name,))
    # A quick look in float64 spares most parameters, which do something, the fingerprints.
    rows = [tape.numpy(GRID, {name: np.array(v)}) for v in tried]
    scale = max((float(np.abs(r[np.isfinite(r)]).max(initial=0.0)) for r in rows), default=0.0)
    with np.errstate(invalid="ignore"):  # inf - inf
        if any((np.abs(r - rows[0]) > 1e-5 * scale).any() for r in rows[1:]):
            return False
    tapes = [Tape.of(parse(text, values={**exact, name: families.exact(v)})) for v in tried]
    return all(alike(tapes[0], other) for other in tapes[1:])


def _others(value: float) -> tuple[float, ...]:
    """Values on either side of a parameter's, near and far; short decimals, as long exponents cost sympy minutes."""
    others = (value + 0.0817, 2 * value + 1.3719, value + 23.417, -0.731 * value - 0.6113)
    return tuple(float(f"{other:.5g}") for other in others)
