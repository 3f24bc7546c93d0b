"""The two tails of g: bound, limit and sign for all |x| >= a radius, by asymptotic rules.

On a tail x = t or x = -t with t >= radius. Every step of the tape becomes an asymptotic value (see `asymptotic`); the
radius is raised until all bounds hold.
"""

from dataclasses import dataclass, field
from math import inf

from flint import arb, fmpq

from sugar_search.symbolic.certificates.asymptotic import Growth, Rules
from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.constants import rational
from sugar_search.symbolic.certificates.order import ONE, Coefficient, NotResolved, Order, coefficient, compare
from sugar_search.symbolic.certificates.smooth import CONDITIONS, POSITIVE
from sugar_search.symbolic.certificates.tail_rules import RULES, either

__all__ = ["RADII", "Tail", "tail"]

RADII = (8, 32, 128, 1024, 2**20)


@dataclass(frozen=True)
class Tail:
    """What is proven of g on one tail.

    Attributes:
        side: -1 or 1, the sign of x.
        radius: it holds for all |x| >= radius.
        unbounded: whether |g| grows without bound.
        bound: upper bound of |g|; infinite if unbounded.
        limit: the limit of g; None if it is not known to have one.
        gap: upper bound of |g - limit|; None without a limit.
        beyond: sign of g - limit on the whole tail (0: equal); None if unknown.
        sign: sign of g on the whole tail (0: g is 0); None if unknown.
        signs: sign of each condition that matters, by step; None if unknown.
        touches: whether the argument of a root may be 0 somewhere on the tail.
    """

    side: int
    radius: int
    unbounded: bool
    bound: arb
    limit: Coefficient | None
    gap: arb | None
    beyond: int | None
    sign: int | None
    signs: dict[int, int | None] = field(default_factory=dict)
    touches: bool = False

    @property
    def is_sharp(self) -> bool:
        """Whether all signs are known."""
        return self.unbounded or not (self.touches or None in (self.beyond, self.sign, *self.signs.values()))

    @property
    def name(self) -> str:
        """-oo or +oo."""
        return "-oo" if self.side < 0 else "+oo"


def tail(program: Program, side: int, sharp: bool = False, limit: float = inf, start: int = 0) -> Tail:
    """One tail of g, from the smallest radius at which its bounds hold.

    Args:
        program: g.
        side: -1 or 1, the sign of x.
        sharp: raise the radius further, if that helps, until all signs are known too.
        start: the smallest radius to try.
        limit: likewise until |g| is proven to stay under it.

    Raises:
        NotResolved: the rules do not decide it; the message says why.
    """
    cause = NotResolved("no radius left")
    first: Tail | None = None
    # The quick arithmetic keeps fewer terms, which is enough unless leading terms cancel.
    for thorough in (False, True):
        for radius in (r for r in RADII if r >= start):
            try:
                found = _Walk(program, side, radius, thorough).tail()
            except NotResolved as error:
                cause = error
                if type(error) is NotResolved:
                    break
                continue
            if (not sharp or found.is_sharp) and (found.unbounded or found.bound <= arb(limit)):
                return found
            if first is None or not first.bound <= arb(limit):
                first = found
        if first is not None and not sharp and first.bound <= arb(limit):
            break
    if first is not None:
        return first
    raise cause


def _between(limit: Coefficient, gap: arb, beyond: int | None) -> arb:
    """An upper bound of |g| for g within `gap` of its limit, on the side that `beyond` tells."""
    at = limit.ball if limit.rational is None else arb(limit.rational)
    low = at if beyond is not None and beyond >= 0 else at - gap
    high = at if beyond is not None and beyond <= 0 else at + gap
    return max(low.abs_upper(), high.abs_upper())


class _Walk:
    """Asymptotic values of the steps that matter, computed when they are asked for."""

    def __init__(self, program: Program, side: int, radius: int, thorough: bool) -> None:
        self.program, self.side, self.radius = program, side, radius
        self.rules = Rules(radius, thorough)
        self.values: dict[int, Growth] = {}
        self.signs: dict[int, int | None] = {}
        self.touches = False

    def tail(self) -> Tail:
        r = self.rules
        g = self.value(len(self.program.steps) - 1)
        if g.terms and compare(g.terms[0][0], ONE) > 0:
            r.sign(g)  # raises until the leading term dominates
            return Tail(self.side, self.radius, True, arb("inf"), None, None, None, None, self.signs)
        bound, limit = r.largest(g), r.limit(g)
        gap = beyond = None
        if limit is not None:
            rest = r.subtract(g, r.constant(limit))
            gap, beyond = r.largest(rest), self._sign(rest, limit)
            bound = min(bound, _between(limit, gap, beyond), key=lambda ball: ball.upper())
        sign = self._sign(g, None)
        if sign is None and self.program.steps[-1].op in POSITIVE:
            sign = 1
        return Tail(self.side, self.radius, False, bound, limit, gap, beyond, sign, self.signs, self.touches)

    def _sign(self, u: Growth, known: Coefficient | None) -> int | None:
        """The sign of u; None also where the constant that was taken off is not exact."""
        if u.is_zero and known is not None and known.exact is None:
            return None
        try:
            return self.rules.sign(u)
        except NotResolved:
            return None

    def value(self, i: int) -> Growth:
        if i not in self.values:
            self.values[i] = self._value(i)
        return self.values[i]

    def _value(self, i: int) -> Growth:
        step, r = self.program.steps[i], self.rules
        if step.op == "x":
            return Growth(((Order(p=fmpq(1)), coefficient(self.side)),))
        if step.op == "const":
            assert step.exact is not None
            return r.constant(coefficient(step.exact))
        if step.op == "where":
            sign = self.condition(step.args[0])
            if sign is None:
                return either(r, self.value(step.args[1]), self.value(step.args[2]))
            return self.value(step.args[1] if sign > 0 else step.args[2])
        args = [self.value(a) for a in step.args]
        if step.op in CONDITIONS:
            self.signs[i] = r.sign(args[0] if len(args) == 1 else r.subtract(*args))
        if step.op == "add":
            return r.add(*args)
        if step.op == "sub":
            return r.subtract(*args)
        if step.op == "mul":
            return r.multiply(*args)
        if step.op == "neg":
            return r.negative(args[0])
        if step.op == "div":
            return r.multiply(args[0], r.power(args[1], fmpq(-1)))
        nonnegative = bool(step.args) and self.program.nonnegative[step.args[0]]
        if step.op in ("sqrt", "pow") and not args[0].terms and args[0].rest is not None:
            self.touches = True
        if step.op == "pow":
            exponent = rational(step.exact)
            if exponent is None:
                raise NotResolved("an irrational exponent")
            return r.power(args[0], exponent, nonnegative)
        if step.op == "sqrt":
            return r.power(args[0], fmpq(1, 2), nonnegative)
        return RULES[step.op](r, *args)

    def condition(self, i: int) -> int | None:
        """The sign of what a comparison compares."""
        if i not in self.signs:
            step = self.program.steps[i]
            left, right = (self.value(a) for a in step.args)
            gap = self.rules.subtract(left, right)
            self.signs[i] = self.rules.sign(gap if step.op == "gt" else self.rules.negative(gap))
        return self.signs[i]
