"""The smooth pieces of g, cut at conditions and where a root has a kink.

sqrt(u) and u**a are smooth only where u is not 0: sqrt(1 - exp(-x**2)) has a kink at 0 though no condition changes
there. Each such u is proven positive inside a piece, or the piece is cut where a factor of u has a simple root.
"""

from dataclasses import replace
from itertools import pairwise

from flint import fmpq

from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.breaks import Region, breaks, regions
from sugar_search.symbolic.certificates.enclosure import Break
from sugar_search.symbolic.certificates.exact import exact_value
from sugar_search.symbolic.certificates.order import NotResolved
from sugar_search.symbolic.certificates.roots import Point, roots
from sugar_search.symbolic.certificates.smooth import POSITIVE, Smooth
from sugar_search.symbolic.certificates.tail import Tail

__all__ = ["smooth_pieces"]

_ROOTS = ("sqrt", "pow")
# These are 0 only where their argument is.
_SAME_ZEROS = ("copy", "neg", "abs", "sqrt", "pow", "square", "recip", "tanh", "atan", "erf", "log1p")
_CAUSE = "a root of what may touch 0"


def smooth_pieces(program: Program, tails: tuple[Tail, Tail]) -> tuple[list[Region], list[Break]]:
    """The smooth pieces of g from left to right, and the breaks between them.

    Raises:
        NotResolved: a condition is not decided somewhere, or a root may have a kink that is not isolated.
    """
    if any(t.touches for t in tails):
        raise NotResolved(_CAUSE)
    cut: list[Region] = []
    for piece in regions(program, tails):
        cut += _cut(program, piece)
    return breaks(program, cut)


def _cut(program: Program, piece: Region) -> list[Region]:
    """One region, cut where the argument of a root is 0."""
    live = piece.smooth.prefix(len(piece.smooth.code) - 1)
    inner = [live.prefix(i) for i in sorted({args[0] for op, args, _ in live.code if op in _ROOTS})]
    if not inner:
        return [piece]
    # At the end of a piece a root may have a kink even if the formula is the same on both sides.
    root_low = not piece.first and not all(u.value(piece.low.ball) > 0 for u in inner)
    root_high = not piece.last and not all(u.value(piece.high.ball) > 0 for u in inner)
    points: list[Point] = []
    for u in inner:
        points += [p for p in _zeros(program, piece, u) if not any(_same(p, q) for q in points)]
    points.sort(key=lambda p: float(p.ball.mid()))
    ends = [piece.low, *points, piece.high]
    if any(not a < b for a, b in pairwise(ends)):
        raise NotResolved("two break points are too close to tell apart")
    last = len(points)
    return [
        replace(
            piece,
            low=ends[i],
            high=ends[i + 1],
            first=piece.first and i == 0,
            last=piece.last and i == last,
            zero_low=piece.zero_low if i == 0 else {},
            zero_high=piece.zero_high if i == last else {},
            root_low=root_low if i == 0 else True,
            root_high=root_high if i == last else True,
        )
        for i in range(last + 1)
    ]


def _same(p: Point, q: Point) -> bool:
    return p.exact is not None and p.exact == q.exact


def _zeros(program: Program, piece: Region, u: Smooth) -> list[Point]:
    """Where u is 0 inside a piece; none if it is 0 everywhere."""
    known = {program.difference(c, piece.signs).code for c in piece.signs}
    points: list[Point] = []
    seen: set[int] = set()
    stack = [len(u.code) - 1]
    while stack:
        i = stack.pop()
        op, args, _ = u.code[i]
        if i in seen or _positive(u, i):
            continue
        seen.add(i)
        if op in ("mul", "div"):
            stack.extend(args)
        elif op in _SAME_ZEROS:
            stack.append(args[0])
        elif op == "const":
            sign = exact_value(u.prefix(i), fmpq(0)).sign
            if sign is None:
                raise NotResolved(_CAUSE)
            if sign == 0:
                return []
        elif (factor := u.prefix(i)).code not in known:
            try:
                found = roots(factor, piece.low, piece.high)
            except NotResolved as error:
                raise NotResolved(_CAUSE) from error
            if 0 in found.signs:
                return []
            points += [p for p in found.points if not any(_same(p, q) for q in points)]
    return points


def _positive(u: Smooth, i: int) -> bool:
    """Whether the form of a step alone says that it is over 0 for every x."""
    op, args, payload = u.code[i]
    if op in POSITIVE:
        return True
    if op == "const":
        return bool(payload.is_positive)
    if op == "add":
        return all(u.nonnegative[a] for a in args) and any(_positive(u, a) for a in args)
    return op in ("mul", "div", "sqrt", "pow", "recip", "square", "copy") and all(_positive(u, a) for a in args)
