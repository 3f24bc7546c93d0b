"""The full certificate of a surrogate derivative: every property proven on the whole line, or named as unproven."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Any, TypeVar

from flint import arb

from sugar_search.symbolic.certificates.admission import MAX_ABS, PRECISION
from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.bounds import Supremum, supremum_of
from sugar_search.symbolic.certificates.breaks import Region, enclosed
from sugar_search.symbolic.certificates.derivative import derivative
from sugar_search.symbolic.certificates.enclosure import Break, Enclosure, Extremum, Piece, Verdict, to_json
from sugar_search.symbolic.certificates.everywhere import everywhere
from sugar_search.symbolic.certificates.integrals import Moments, coarse_moments, moments
from sugar_search.symbolic.certificates.order import NotResolved
from sugar_search.symbolic.certificates.roots import Point
from sugar_search.symbolic.certificates.signs import cut_by_sign, signs
from sugar_search.symbolic.certificates.smooth_pieces import smooth_pieces
from sugar_search.symbolic.certificates.tail import RADII, Tail, tail
from sugar_search.symbolic.certificates.working import working
from sugar_search.symbolic.tape import Tape

__all__ = ["Certificate", "certificate"]

_T = TypeVar("_T")
Tails = tuple[Tail, Tail]


@dataclass(frozen=True)
class Certificate:
    """What is proven of g.

    Attributes:
        verdict: finite and bounded everywhere, or why not; nothing else is given unless it is proven.
        minimum: global minimum.
        maximum: global maximum.
        limits: at -oo and +oo.
        sign_changes: points where g changes sign (an interval where g is 0 between two signs).
        breaks: points where g or g' jumps.
        pieces: between the breaks, with sup |g'|.
        gain: E[g(z)**2]/0.5 for z ~ N(0, 1); 1 for ReLU's derivative.
        mean: E[g(z)].
        negative_mass: E[|g(z)|; z < 0].
        unproven: one clause for each property that could not be proven.
    """

    verdict: Verdict
    minimum: Extremum | None = None
    maximum: Extremum | None = None
    limits: tuple[Enclosure | None, Enclosure | None] = (None, None)
    sign_changes: tuple[Enclosure, ...] | None = None
    breaks: tuple[Break, ...] | None = None
    pieces: tuple[Piece, ...] = ()
    gain: Enclosure | None = None
    mean: Enclosure | None = None
    negative_mass: Enclosure | None = None
    unproven: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts for JSON; an enclosure is [low, high]."""
        return {name: to_json(value) for name, value in vars(self).items()}


def certificate(tape: Tape, max_abs: float = MAX_ABS) -> Certificate:
    """The certificate of the derivative that `tape` computes.

    Unless it is proven finite and within `max_abs`, only the verdict is given.
    """
    with working(PRECISION):
        verdict = everywhere(Program(tape), max_abs)
        if not verdict.proven:
            return Certificate(verdict, unproven=(f"that g is finite and bounded: it {verdict.detail}",))
        found = _Work(Program(tape), verdict, max_abs).certificate()
    if found.unproven:
        # Some causes are mere cancellation, as in 1 - tanh(x)**2 far out.
        with working(4 * PRECISION):
            again = _Work(Program(tape), verdict, max_abs).certificate()
        found = again if len(again.unproven) < len(found.unproven) else found
    return found


class _Work:
    """Collects the properties, and the causes of those that are missing."""

    def __init__(self, program: Program, verdict: Verdict, max_abs: float) -> None:
        self.program, self.verdict, self.bound = program, verdict, arb(max_abs)
        self.unproven: list[str] = []
        self.tails: Tails = tail(program, -1, sharp=True), tail(program, 1, sharp=True)
        self.slopes: dict[int, Tail | None] = {}

    def attempt(self, what: str, make: Callable[[], _T]) -> _T | None:
        """The property, or None and a note."""
        try:
            return make()
        except NotResolved as error:
            self.unproven.append(f"{what}: {error}")
            return None

    def certificate(self) -> Certificate:
        limits = self._limits()
        cut = self.attempt("the break points", lambda: smooth_pieces(self.program, self.tails))
        if cut is None:
            found = coarse_moments(self.program, self.bound)
            self.unproven += [f"the {what}: the break points are not known" for what in ("extrema", "sign changes")]
            return self._with_moments(Certificate(self.verdict, limits=limits), found)
        pieces, points = cut
        minimum, pieces = self._extremum(pieces, points, -1)
        maximum, pieces = self._extremum(pieces, points, 1)
        changes = self.attempt("the sign changes", lambda: signs(self.program, pieces, self.tails))
        result = Certificate(
            self.verdict,
            minimum,
            maximum,
            limits,
            None if changes is None else changes.changes,
            tuple(points),
            tuple(self._piece(piece) for piece in pieces),
        )
        return self._with_moments(result, moments(cut_by_sign(pieces, changes), self.bound))

    def _limits(self) -> tuple[Enclosure | None, Enclosure | None]:
        found = []
        for side in self.tails:
            if side.limit is None:
                self.unproven.append(f"the limit as x -> {side.name}: it is not known to exist")
            found.append(None if side.limit is None else enclosed(side.limit.ball))
        return found[0], found[1]

    def _with_moments(self, result: Certificate, found: Moments) -> Certificate:
        mass = found.negative_mass
        if mass is None:
            self.unproven.append("the mass for x < 0: the sign changes are not known")
        return replace(
            result,
            gain=self._ball("the gain", 2 * found.square),
            mean=self._ball("the mean", found.mean),
            negative_mass=None if mass is None else self._ball("the mass for x < 0", mass),
            unproven=tuple(self.unproven),
        )

    def _ball(self, what: str, ball: arb) -> Enclosure | None:
        if ball.is_finite():
            return enclosed(ball)
        self.unproven.append(f"{what}: the integral does not converge in the steps allowed")
        return None

    def _extremum(self, pieces: list[Region], points: list[Break], sign: int) -> tuple[Extremum | None, list[Region]]:
        """The maximum (sign 1) or minimum (-1); the tails are moved out until the finite part decides it."""
        for radius in (*RADII[1:], 0):
            floor = max((_tail_range(t, sign)[0] for t in self.tails), key=lambda ball: float(ball.mid()))
            top = supremum_of([(p.smooth, p.low.ball, p.high.ball) for p in pieces], sign=sign, floor=floor)
            outer = [(t, *_tail_range(t, sign)) for t in self.tails]
            if radius == 0 or all(high <= top.low + 1e-12 for _, _, high in outer):
                break
            moved = self._moved(radius)
            if moved is None:
                break
            pieces = moved
        return self._told(_with_values(top, points, sign), outer, pieces, sign), pieces

    def _moved(self, radius: int) -> list[Region] | None:
        """The pieces when the tails begin further out."""
        try:
            tails = (
                tail(self.program, -1, sharp=True, start=radius),
                tail(self.program, 1, sharp=True, start=radius),
            )
            pieces = smooth_pieces(self.program, tails)[0]
        except NotResolved:
            return None
        self.tails = tails
        return pieces

    def _told(
        self, top: Supremum, outer: list[tuple[Tail, arb, arb]], pieces: list[Region], sign: int
    ) -> Extremum | None:
        high = top.high
        for _, _, upper in outer:
            high = upper if upper > high else high
        what = "maximum" if sign > 0 else "minimum"
        if not (high.is_finite() and top.low.is_finite()):
            self.unproven.append(f"the {what}: too many subdivisions")
            return None
        whole = enclosed(sign * top.low.union(high))
        if top.piece < 0:
            best = max(outer, key=lambda item: float(item[1].mid()))
            return Extremum(whole, None, best[0].name)
        if top.at is None:
            return Extremum(whole)
        at = enclosed(top.at)
        if top.flat:
            piece = pieces[top.piece]
            ends = enclosed(piece.low.ball).low, enclosed(piece.high.ball).high
            at = Enclosure(-inf if piece.first else ends[0], inf if piece.last else ends[1])
        return Extremum(whole, at)

    def _piece(self, piece: Region) -> Piece:
        ends = (-inf if piece.first else _middle(piece.low), inf if piece.last else _middle(piece.high))
        low, high = piece.low.ball, piece.high.ball
        for radius in (*RADII[1:], 0):
            beyond = arb(0)
            for outer, side in ((piece.first, 0), (piece.last, 1)):
                slope = self._slope(side) if outer else None
                if outer and slope is None:
                    return Piece(*ends, None)
                if slope is not None:
                    beyond = slope.bound if slope.bound > beyond else beyond
                    edge = arb(slope.side * max(slope.radius, self.tails[side].radius))
                    low, high = (edge, high) if side == 0 else (low, edge)
            up = supremum_of([(piece.smooth, low, high)], order=1, sign=1, floor=arb(0))
            down = supremum_of([(piece.smooth, low, high)], order=1, sign=-1, floor=up.low)
            if not radius or beyond <= down.low + 1e-12 or not self._moved_slopes(piece, radius):
                break
        most = max((up.high, down.high, beyond.upper()), key=lambda ball: float(ball.mid()))
        if not (up.high.is_finite() and down.high.is_finite()):
            self.unproven.append(f"the Lipschitz constant on [{ends[0]:.6g}, {ends[1]:.6g}]: too many subdivisions")
            return Piece(*ends, None)
        return Piece(*ends, enclosed(down.low.union(most)))

    def _slope(self, side: int) -> Tail | None:
        """The tail of g'."""
        if side not in self.slopes:
            name = "-oo" if side == 0 else "+oo"
            self.slopes[side] = self.attempt(
                f"the Lipschitz constant as x -> {name}", lambda: self._slope_tail((-1, 1)[side])
            )
        return self.slopes[side]

    def _moved_slopes(self, piece: Region, radius: int) -> bool:
        """Whether the tails of g' are now known from this radius on."""
        try:
            for outer, side in ((piece.first, 0), (piece.last, 1)):
                if outer:
                    self.slopes[side] = self._slope_tail((-1, 1)[side], radius)
        except NotResolved:
            return False
        return True

    def _slope_tail(self, side: int, start: int = 0) -> Tail:
        found = tail(Program(derivative(self.program.tape)), side, start=start)
        if found.unbounded:
            raise NotResolved("g' grows without bound")
        return found


def _with_values(top: Supremum, points: list[Break], sign: int) -> Supremum:
    """The supremum with the values at the breaks themselves, which neither side need come near."""
    for point in points:
        value = point.value
        low, high = (value.low, value.high) if sign > 0 else (-value.high, -value.low)
        at, flat, piece = (top.at, top.flat, top.piece)
        if low > top.low:
            at, flat, piece = arb(point.at.low).union(arb(point.at.high)), False, 0
        top = Supremum(_larger(top.low, arb(low)), _larger(top.high, arb(high)), at, flat, piece)
    return top


def _larger(a: arb, b: arb) -> arb:
    return b if b > a else a


def _middle(point: Point) -> float:
    return float(point.ball.mid())


def _tail_range(t: Tail, sign: int) -> tuple[arb, arb]:
    """Lower and upper bound of sup(sign*g) on a tail."""
    if t.limit is None or t.gap is None:
        return arb("-inf"), t.bound
    limit = sign * t.limit.ball
    below = t.beyond is not None and t.beyond * sign <= 0
    return limit.lower(), limit.upper() if below else (limit + t.gap).upper()
