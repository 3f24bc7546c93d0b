"""Parameters that do nothing."""

from collections.abc import Mapping

import numpy as np
from sympy import Expr, Rational, Symbol

from sugar_search.symbolic.fingerprint import GRID, fingerprint, same
from sugar_search.symbolic.tape import Tape

__all__ = ["idle_parameters"]


def idle_parameters(template: Expr, values: Mapping[str, float]) -> set[str]:
    """Names of the parameters whose value does not change the function, the others being as given.

    Gone from the template, or of no effect on the fingerprint at the given value and four others.

    Args:
        template: the derivative with parameter symbols.
        values: every parameter.
    """
    present = {symbol.name for symbol in template.free_symbols}
    idle = {name for name in values if name not in present}
    for name in sorted(values.keys() & present):
        tape = Tape.of(_bound(template, {k: v for k, v in values.items() if k != name}), (name,))
        given = float(values[name])
        # A quick look in float64 spares most parameters, which do something, the fingerprints.
        rows = [tape.numpy(GRID, {name: np.array(v)}) for v in (given, *_others(given))]
        scale = max((float(np.abs(r[np.isfinite(r)]).max(initial=0.0)) for r in rows), default=0.0)
        with np.errstate(invalid="ignore"):  # inf - inf
            acts = any((np.abs(r - rows[0]) > 1e-5 * scale).any() for r in rows[1:])
        if acts:
            continue
        prints = [fingerprint(Tape.of(_bound(template, {**values, name: v}))) for v in (given, *_others(given))]
        if all(same(prints[0], other) for other in prints[1:]):
            idle.add(name)
    return idle


def _others(value: float) -> tuple[float, ...]:
    """Values on either side of a parameter's, near and far."""
    return value + 0.0817, 2 * value + 1.3719, value + 23.417, -0.731 * value - 0.6113


def _bound(template: Expr, values: Mapping[str, float]) -> Expr:
    return template.subs({Symbol(name, real=True): Rational(repr(float(value))) for name, value in values.items()})
