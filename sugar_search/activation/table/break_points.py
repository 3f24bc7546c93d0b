"""Where g or g' jumps, and g there: exact for conditions on straight lines, by certificates for all others."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from sugar_search.activation.table.on_lines import SUSPECT, NotOnLines, on_lines
from sugar_search.symbolic.tape import NUMPY, Tape

__all__ = ["BreakPoint", "break_points"]


@dataclass(frozen=True)
class BreakPoint:
    """A point where g or g' may jump.

    Attributes:
        at: where; exact if rational, else its float64 value.
        value: g there; None where no float32 equals `at`.
    """

    at: Fraction
    value: float | None


def break_points(tape: Tape) -> list[BreakPoint]:
    """The points where g or g' may jump, ascending; as far as they can be told."""
    if not any(step.op in SUSPECT for step in tape.steps):
        return []
    try:
        return [BreakPoint(at, _value(tape, at, signs)) for at, signs in on_lines(tape)]
    except NotOnLines:
        return list(_certified(tape))


def _value(tape: Tape, at: Fraction, signs: dict[int, int]) -> float | None:
    """g at a point, its conditions decided by exact arithmetic; None where no float32 equals the point."""
    x = float(at)
    if not abs(x) < 3e38 or float(np.float32(x)) != at:
        return None
    registers: list[Any] = []
    with np.errstate(all="ignore"):
        for i, step in enumerate(tape.steps):
            if step.op == "x":
                registers.append(np.float64(x))
            elif step.op == "const":
                registers.append(np.float64(step.value))
            elif step.op in ("gt", "lt") and i in signs:
                registers.append(signs[i] > 0)
            elif step.op == "sign" and i in signs:
                registers.append(np.float64(signs[i]))
            elif step.op == "pow":
                registers.append(np.power(registers[step.args[0]], step.value or 0.0))
            else:
                registers.append(NUMPY[step.op](*[registers[a] for a in step.args]))
    return float(registers[-1])


@lru_cache(maxsize=1024)
def _certified(tape: Tape) -> tuple[BreakPoint, ...]:
    """The breaks that certificates isolate; none where they do not."""
    from sugar_search.symbolic.certificates.admission import PRECISION
    from sugar_search.symbolic.certificates.ball import Program
    from sugar_search.symbolic.certificates.order import NotResolved
    from sugar_search.symbolic.certificates.smooth_pieces import smooth_pieces
    from sugar_search.symbolic.certificates.tail import tail
    from sugar_search.symbolic.certificates.working import working

    breaks: list[Any] = []
    for bits in (PRECISION, 4 * PRECISION):  # some causes are mere cancellation
        with working(bits):
            program = Program(tape)
            try:
                breaks = smooth_pieces(program, (tail(program, -1, sharp=True), tail(program, 1, sharp=True)))[1]
                break
            except NotResolved:
                continue
    found = []
    for one in breaks:
        near = 0.0 if 0.0 in one.at else float(np.float32(one.at.mid))
        equal = one.at.low <= near <= one.at.high
        at = near if equal else one.at.mid
        value = one.value.mid if equal else None
        if value is not None and not np.isfinite(value):
            value = float(tape.stable(np.array([at]))[0])
        found.append(BreakPoint(Fraction(at), value))
    return tuple(found)
