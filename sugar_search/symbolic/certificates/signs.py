"""Where g changes sign: roots of the factors of g on each smooth piece, and jumps across 0.

g is split into factors first. A square or another factor that cannot be negative changes no sign, so that the double
root of x**2*exp(-x**2) needs no isolation. A stretch where g is 0 is no change by itself.
"""

from dataclasses import dataclass
from itertools import pairwise

from flint import arb, fmpq

from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.breaks import Region, enclosed
from sugar_search.symbolic.certificates.enclosure import Enclosure
from sugar_search.symbolic.certificates.exact import exact_value
from sugar_search.symbolic.certificates.integrals import REACH
from sugar_search.symbolic.certificates.order import NotResolved
from sugar_search.symbolic.certificates.roots import Point, roots
from sugar_search.symbolic.certificates.smooth import POSITIVE, Smooth
from sugar_search.symbolic.certificates.tail import Tail

__all__ = ["Signs", "cut_by_sign", "signs"]


@dataclass(frozen=True)
class Signs:
    """The sign of g on stretches of the line.

    Attributes:
        changes: where the sign changes; an interval if g is 0 there.
        stretches: (left end, right end, sign) from left to right; the outer ends are where the tails begin.
    """

    changes: tuple[Enclosure, ...]
    stretches: tuple[tuple[Point, Point, int], ...]


def signs(program: Program, pieces: list[Region], tails: tuple[Tail, Tail]) -> Signs:
    """The sign changes of g.

    Raises:
        NotResolved: a root is not isolated, or a tail's sign is unknown.
    """
    stretches: list[tuple[Point, Point, int]] = []
    for piece in pieces:
        stretches.extend(_piece(program, piece))
    for tail, (_, _, sign) in ((tails[0], stretches[0]), (tails[1], stretches[-1])):
        if tail.sign != sign:
            raise NotResolved(f"the sign of g is not known as x -> {tail.name}")
    changes: list[Enclosure] = []
    last: tuple[Point, Point, int] | None = None
    for stretch in stretches:
        if stretch[2] == 0:
            continue
        if last is not None and stretch[2] != last[2]:
            low, high = enclosed(last[1].ball), enclosed(stretch[0].ball)
            changes.append(Enclosure(low.low, high.high))
        last = stretch
    return Signs(tuple(changes), tuple(stretches))


def _piece(program: Program, piece: Region) -> list[tuple[Point, Point, int]]:
    if piece.smooth.is_constant:
        constant = exact_value(piece.smooth, fmpq(0)).sign
        if constant is None:
            raise NotResolved("the sign of a constant is not decided")
        return [(piece.low, piece.high, constant)]
    sign, factors = _factors(piece)
    known = {program.difference(c, piece.signs).code: s for c, s in piece.signs.items()}
    points: list[Point] = []
    for factor in factors:
        if factor.code in known:  # abs(u) is 0 at the end of its own pieces, and nowhere inside
            sign *= known[factor.code]
            continue
        found = roots(factor, piece.low, piece.high)
        if found.signs[0] == 0:
            return [(piece.low, piece.high, 0)]
        sign *= found.signs[0]
        points.extend(found.points)
    points.sort(key=lambda p: float(p.ball.mid()))
    kept: list[Point] = []
    for point in points:
        if kept and not kept[-1] < point:
            if kept[-1].exact is None or kept[-1].exact != point.exact:
                raise NotResolved(f"two roots near x = {float(point.ball.mid()):.6g} are too close to tell apart")
            kept.pop()  # two factors change sign together, hence g does not
        else:
            kept.append(point)
    ends = [piece.low, *kept, piece.high]
    return [(a, b, sign * (-1) ** i) for i, (a, b) in enumerate(pairwise(ends))]


def _factors(piece: Region) -> tuple[int, list[Smooth]]:
    """A sign and the factors that may change sign; their product has the sign of g.

    A factor that cannot be negative is left out only if it is not 0 all over the piece.
    """
    smooth, sign = piece.smooth, 1
    found: list[Smooth] = []
    stack = [len(smooth.code) - 1]
    while stack:
        i = stack.pop()
        op, args, _ = smooth.code[i]
        if smooth.nonnegative[i] and op not in ("const", "copy"):
            if op not in POSITIVE and not _positive_somewhere(smooth.prefix(i), piece):
                found.append(smooth.prefix(i))
            continue
        if op in ("mul", "div"):
            stack.extend(args)
        elif op in ("copy", "recip", "neg", "tanh", "atan", "erf", "log1p"):
            sign *= -1 if op == "neg" else 1
            stack.append(args[0])
        else:
            found.append(smooth.prefix(i))
    return sign, found


def _positive_somewhere(factor: Smooth, piece: Region) -> bool:
    low, high = float(piece.low.ball.mid()), float(piece.high.ball.mid())
    return any(factor.value(arb(low + share * (high - low))) > 0 for share in (0.382, 0.724, 0.146))


def cut_by_sign(pieces: list[Region], changes: Signs | None) -> list[tuple[Smooth, Point, Point, int | None]]:
    """The line in stretches of one sign and one smooth form, cut at 0 too."""
    zero, far_low, far_high = (Point.at(fmpq(x)) for x in (0, -REACH, REACH))
    stretches: list[tuple[Smooth, Point, Point, int | None]] = []
    signed = [] if changes is None else list(changes.stretches)
    for piece in pieces:
        parts: list[tuple[Point, Point, int | None]] = [(piece.low, piece.high, None)]
        if changes is not None:
            parts = []
            while signed:
                stretch = signed.pop(0)
                parts.append(stretch)
                if stretch[1] is piece.high:
                    break
        for index, (low, high, sign) in enumerate(parts):
            # On the outer pieces both form and sign go on beyond the radius of the tail.
            a = far_low if piece.first and index == 0 and far_low < low else low
            b = far_high if piece.last and index == len(parts) - 1 and high < far_high else high
            if a < zero and zero < b:
                stretches += [(piece.smooth, a, zero, sign), (piece.smooth, zero, b, sign)]
            else:
                stretches.append((piece.smooth, a, b, sign))
    return stretches
