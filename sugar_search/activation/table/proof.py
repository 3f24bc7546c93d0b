"""A proof of how far a table strays from g anywhere on the real line.

Every float that the table tells apart lies in one of its parts. On each part g is smooth between certified break
points, so a Taylor polynomial about the middle with an enclosure of the third derivative bounds polynomial - g; parts
that are too coarse are halved. Beyond the octaves the asymptotic rules bound the distance to the limit. The cells of
the core are parts like those of the octaves.
"""

from dataclasses import dataclass

import numpy as np
from flint import arb

from sugar_search.activation.table.build import Table
from sugar_search.activation.table.core import coefficients_of_core, core_parts, core_rounding
from sugar_search.activation.table.layout import CORE_CELL
from sugar_search.activation.table.served import Served, coefficients, served
from sugar_search.activation.table.span import rounding
from sugar_search.symbolic.certificates.admission import PRECISION
from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.breaks import Region, enclosed
from sugar_search.symbolic.certificates.enclosure import Break
from sugar_search.symbolic.certificates.order import NotResolved
from sugar_search.symbolic.certificates.smooth import Smooth, taylor_terms
from sugar_search.symbolic.certificates.smooth_pieces import smooth_pieces
from sugar_search.symbolic.certificates.tail import RADII, Tail, tail
from sugar_search.symbolic.certificates.working import working
from sugar_search.symbolic.tape import Tape

__all__ = ["proven_error"]

_ENOUGH = 6e-7  # of max |g|: parts within it are not halved
_ENOUGH_IN_CORE = 8e-7
_NEAR = 1.25  # nor those within this factor of an error that is certain
_MOST_HALVINGS = 4000
_DEEPEST = 24
_ROUGH = 1e-4  # a larger bound may be mere cancellation: once more, with more bits


def proven_error(tape: Tape, table: Table) -> float | None:
    """An upper bound on |table - g| over max |g| on the whole line, rounding in float32 included; None if not provable.

    It holds at every float32 value, and beyond the octaves at every real x, in any order of rounding, with or without
    fused multiplication, and with denormals flushed to 0. Not provable are tails without a known limit, conditions and
    roots that certificates do not resolve (sqrt(1 - exp(-x**2)), whose argument has a double zero), and g without a
    table.
    """
    if not np.isfinite(table.error):
        return None
    found: float | None = None
    for bits in (PRECISION, 4 * PRECISION):
        with working(bits):
            try:
                bound = _proof(Program(tape), table)
            except NotResolved:
                continue
        found = bound if found is None else min(found, bound)
        if found <= _ROUGH:
            break
    return found


@dataclass
class _Seen:
    """What the proof has met: the largest bound, an error that is certain, and a value that |g| reaches."""

    error: arb
    certain: arb
    reached: arb
    halvings: int = 0

    def note(self, error: arb) -> None:
        if not error.is_finite():
            raise NotResolved("g is not enclosed somewhere")
        self.error = self.error.max(error.upper())

    def reach(self, value: arb, error: arb) -> None:
        """The value of g at some point and the error there."""
        if value.is_finite() and error.is_finite():
            self.reached = self.reached.max(value.abs_lower())
            self.certain = self.certain.max(error.abs_lower())


class _Beyond:
    """Bounds of |g - limit| beyond the radii at which tails are known, each computed when it is asked for."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.known: dict[tuple[int, int], Tail | None] = {}

    def error(self, part: Served, polynomial: list[arb]) -> arb | None:
        """An upper bound of |polynomial - g| on a part beyond a radius; None if there is none."""
        nearest = min(abs(part.first), abs(part.last))
        radius = max((r for r in RADII if r <= nearest), default=None)
        if radius is None or part.first * part.last < 0:
            return None
        side = 1 if part.first > 0 else -1
        if (side, radius) not in self.known:
            try:
                self.known[side, radius] = tail(self.program, side, start=radius)
            except NotResolved:
                self.known[side, radius] = None
        found = self.known[side, radius]
        if found is None or found.limit is None or found.gap is None or found.radius > nearest:
            return None
        p = _taylor(polynomial, (arb(part.first) + arb(part.last)) / 2 - arb(part.edge))
        reach = (arb(part.last) - arb(part.first)) / 2
        spread = reach * (abs(p[1]) + reach * (abs(p[2]) + reach * abs(p[3])))
        return (abs(p[0] - found.limit.ball) + spread + found.gap).upper()


def _proof(program: Program, table: Table) -> float:
    tails = tail(program, -1, sharp=True), tail(program, 1, sharp=True)
    regions, breaks = smooth_pieces(program, tails)
    c = coefficients(table.words).astype(np.float64)
    parts = served(table.words)
    used = np.array([part.piece for part in parts])
    size = np.array([max(abs(part.first - part.edge), abs(part.last - part.edge)) for part in parts])
    room = rounding(c[used], size)
    seen = _Seen(arb(0), arb(0), arb(0))
    beyond = _Beyond(program)
    enough = _ENOUGH * table.scale
    for part, extra in zip(parts, room, strict=True):
        polynomial = [arb(float(value)) for value in c[part.piece]]
        if part.tail:
            error = beyond.error(part, polynomial)
            if error is None:
                raise NotResolved("a limit is not known to exist")
            seen.note(error)
            continue
        _points(part, polynomial, breaks, arb(float(extra)), seen)
        for region in regions:
            _part(region, part, polynomial, arb(float(extra)), enough, seen, beyond)
    for part, row, extra in _core(table.words):
        _points(part, row, breaks, extra, seen)
        for region in regions:
            _part(region, part, row, extra, _ENOUGH_IN_CORE * table.scale, seen, beyond)
    bound = seen.error / seen.reached
    if not bound.is_finite():
        raise NotResolved("g is not seen to differ from 0")
    return float(enclosed(bound).high)


def _core(words: np.ndarray) -> list[tuple[Served, list[arb], arb]]:
    """The core's parts, their coefficients and how far rounding may stray from them."""
    parts = core_parts(words)
    if not parts:
        return []
    c = coefficients_of_core(words)
    room = core_rounding(c, float(words.view(np.float32)[CORE_CELL]))
    terms = max(4, int(np.flatnonzero(c.any(axis=0)).max(initial=0)) + 1)
    rows = [[arb(float(value)) for value in row[:terms]] for row in c]
    return [(part, row, arb(float(extra))) for part, row, extra in zip(parts, rows, room, strict=True)]


def _points(part: Served, polynomial: list[arb], breaks: list[Break], room: arb, seen: _Seen) -> None:
    """The break points that are floats of this part: g there may be that of neither side."""
    for one in breaks:
        if one.at.high < part.first or one.at.low > part.last:
            continue
        near = 0.0 if 0.0 in one.at else float(np.float32(one.at.mid))
        if near in one.at and part.first <= near <= part.last:
            value = arb(one.value.low).union(arb(one.value.high))
            error = _taylor(polynomial, arb(near) - arb(part.edge))[0] - value
            seen.note(abs(error) + room)
            seen.reach(value, error)


def _part(
    region: Region, part: Served, polynomial: list[arb], room: arb, enough: float, seen: _Seen, beyond: _Beyond
) -> None:
    """The error on the floats of a part that lie in a region."""
    low = -np.inf if region.first else enclosed(region.low.ball).low
    high = np.inf if region.last else enclosed(region.high.ball).high
    first, last = max(low, part.first), min(high, part.last)
    if first > last or (first == last and part.first < part.last):
        return
    if first == last and any(first == end for end in (low, high)):
        return  # a break point, seen before
    edge = arb(part.edge)
    waiting = [(first, last, 0)]
    with taylor_terms(4):
        while waiting:
            a, b, depth = waiting.pop()
            error = _error(region.smooth, a, b, edge, polynomial, seen) + room
            if (
                error <= enough
                or error <= _NEAR * (seen.certain + room)
                or depth == _DEEPEST
                or seen.halvings == _MOST_HALVINGS
                or not a < (a + b) / 2 < b
            ):
                seen.note(error)
                continue
            far = beyond.error(part, polynomial) if not depth and (region.first or region.last) else None
            if far is not None and far + room <= enough:
                seen.note(far + room)
                continue
            seen.halvings += 1
            waiting += [(a, (a + b) / 2, depth + 1), ((a + b) / 2, b, depth + 1)]


def _error(smooth: Smooth, a: float, b: float, edge: arb, polynomial: list[arb], seen: _Seen) -> arb:
    """An upper bound of |polynomial - g| on [a, b]."""
    middle = arb((a + b) / 2)
    whole = arb(a).union(arb(b))
    radius = (whole - middle).abs_upper()
    at = smooth.series(middle)
    p = _taylor(polynomial, middle - edge)
    seen.reach(at[0], p[0] - at[0])
    error = abs(_taylor(polynomial, whole - edge)[3] - smooth.series(whole)[3]).upper() if a < b else arb(0)
    for k in (2, 1, 0):
        error = abs(p[k] - at[k]) + radius * error
    if error.is_finite():
        return error.upper()
    slope = arb(0)
    for k in range(len(p) - 1, 0, -1):
        slope = k * abs(p[k]) + radius * slope
    return (abs(p[0] - smooth.value(whole)) + radius * slope).upper()


def _taylor(polynomial: list[arb], t: arb) -> list[arb]:
    """Taylor coefficients of a polynomial about t."""
    p = list(polynomial)
    for first in range(len(p) - 1):
        for k in range(len(p) - 2, first - 1, -1):
            p[k] += t * p[k + 1]
    return p
