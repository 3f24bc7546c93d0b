"""Finite and bounded on the whole real line: tails by asymptotic rules, the middle by subdivision."""

from sys import float_info

from flint import arb

from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.bounded import bounded
from sugar_search.symbolic.certificates.bounds import supremum_of
from sugar_search.symbolic.certificates.breaks import Region, breaks, enclosed, regions
from sugar_search.symbolic.certificates.enclosure import Status, Verdict
from sugar_search.symbolic.certificates.order import NotResolved
from sugar_search.symbolic.certificates.tail import RADII, Tail, tail

__all__ = ["everywhere"]

# Where a tail that the rules do not decide is searched for a witness.
_FAR = (8.0, 16.0, 32.0, 64.0, 1e3, 1e4, 1e6, 1e9, 1e15, 1e30, 1e100, 1e200)


def everywhere(program: Program, max_abs: float) -> Verdict:
    """Whether |g| <= max_abs on the whole line."""
    if program.most <= max_abs:
        max_abs = float_info.max  # the form of g keeps it under the limit wherever g is defined: is it, everywhere?
    tails: list[Tail] = []
    pending: Verdict | None = None
    for side in (-1, 1):
        found = _tail(program, side, max_abs)
        if isinstance(found, Tail):
            tails.append(found)
        elif found.status is Status.REFUTED:
            return found
        else:
            pending = pending or found
    radius = {t.side: float(t.radius) for t in tails}
    low, high = -radius.get(-1, RADII[0]), radius.get(1, RADII[0])
    middle = bounded(program, low, high, max_abs)
    if middle.status is Status.REFUTED or pending is None:
        if middle.status is Status.UNPROVEN and len(tails) == 2:
            return _by_pieces(program, (tails[0], tails[1]), max_abs, middle)
        return middle
    return pending


def _tail(program: Program, side: int, max_abs: float) -> Tail | Verdict:
    name = "-oo" if side < 0 else "+oo"
    try:
        found = tail(program, side, limit=max_abs)
    except NotResolved as error:
        found, cause = None, str(error)
    if found is not None and found.unbounded:
        return Verdict(Status.REFUTED, "unbounded tail", f"grows without bound as x -> {name}")
    if found is not None and found.bound <= arb(max_abs):
        return found
    for x in _FAR:
        value = program.value(arb(side * x))
        if value.is_finite() and value.abs_lower() > arb(max_abs):
            return Verdict(Status.REFUTED, "too large", f"exceeds {max_abs:g} in size near x = {side * x:g}")
    if found is not None:
        detail = f"is not proven to stay under {max_abs:g} as x -> {name}"
        return Verdict(Status.UNPROVEN, "tail not resolved", detail)
    return Verdict(Status.UNPROVEN, "tail not resolved", f"is not decided as x -> {name}: {cause}")


def _by_pieces(program: Program, tails: tuple[Tail, Tail], max_abs: float, before: Verdict) -> Verdict:
    """Once more with the line cut at the conditions, where the branch not taken may be undefined."""
    try:
        pieces, cuts = breaks(program, regions(program, tails))
    except NotResolved:
        return before
    # At a cut itself g need not be the continuation of either side: 1/sign(x) is not defined at 0.
    if any(max(abs(cut.value.low), abs(cut.value.high)) > max_abs for cut in cuts):
        return before
    for piece in pieces:
        low, high = enclosed(piece.low.ball).low, enclosed(piece.high.ball).high
        verdict = bounded(program, low, high, max_abs, piece.smooth.value)
        if not (verdict.proven or _supremum_obeys(piece, max_abs)):
            return before
    return Verdict(Status.PROVEN)


def _supremum_obeys(piece: Region, max_abs: float) -> bool:
    """Whether the extrema keep the limit, which subdivision alone does not show where g comes within 1e-6 of it."""
    part = [(piece.smooth, piece.low.ball, piece.high.ball)]
    return all(supremum_of(part, sign=sign).high <= arb(max_abs) for sign in (1, -1))
