"""Asymptotic values: a few exact terms and a rigorous bound of the rest, valid for every t >= a radius.

A `Growth` stands for a function u(t) with |u(t) - sum of c*order(t)| <= bound*order(t) for all t >= radius. The terms
fall in order and the rest is of lower order than the last of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from flint import arb, fmpq

from sugar_search.symbolic.certificates.order import (
    ONE,
    Coefficient,
    NotResolved,
    Order,
    TryLarger,
    coefficient,
    compare,
    supremum,
)

__all__ = ["Growth", "Rules"]

_MAX_TERMS = (3, 6)  # quick, thorough
_MOST = 0.9  # largest relative size of the rest for which powers are expanded

Term = tuple[Order, Coefficient]
Rest = tuple[Order, arb] | None


@dataclass(frozen=True, slots=True)
class Growth:
    """Terms by falling order, and the order and bound of the rest (None: there is none)."""

    terms: tuple[Term, ...] = ()
    rest: Rest = None

    @property
    def is_zero(self) -> bool:
        """Whether it is exactly 0."""
        return not self.terms and self.rest is None


def _largest_power(most: arb, a: fmpq) -> arb:
    """Upper bound of (1 + s)**a over |s| <= most < 1."""
    return ((1 - most) ** arb(a)).union((1 + most) ** arb(a)).abs_upper()


_BY_ORDER = cmp_to_key(lambda a, b: compare(b[0], a[0]))  # type: ignore[index]


class Rules:
    """Arithmetic of asymptotic values for t >= radius; every method may raise `NotResolved`."""

    def __init__(self, radius: int, thorough: bool = True) -> None:
        self.radius, self.thorough = arb(radius), thorough
        self.most_terms = _MAX_TERMS[thorough]

    def constant(self, value: Coefficient) -> Growth:
        """A constant."""
        if value.is_zero:
            return Growth()
        if value.sign is None:
            return Growth((), (ONE, value.ball.abs_upper()))
        return Growth(((ONE, value),))

    def bounded(self, order: Order, bound: arb) -> Growth:
        """Anything of at most this size."""
        return Growth((), (order, bound.upper()))

    def build(self, terms: Iterable[Term], rests: Iterable[tuple[Order, arb]]) -> Growth:
        """Merges equal orders, and absorbs into the rest what does not exceed it."""
        ordered = sorted(terms, key=_BY_ORDER)
        merged: list[Term] = []
        spare = list(rests)
        for order, c in ordered:
            if merged and compare(merged[-1][0], order) == 0:
                merged[-1] = (merged[-1][0], merged[-1][1] + c)
            else:
                merged.append((order, c))
        kept: list[Term] = []
        for order, c in merged:
            if c.sign is None:
                spare.append((order, c.ball.abs_upper()))
            elif c.sign:
                kept.append((order, c))
        spare.extend((order, c.ball.abs_upper()) for order, c in kept[self.most_terms :])
        kept = kept[: self.most_terms]
        if not spare:
            return Growth(tuple(kept))
        top = spare[0][0]
        for order, _ in spare[1:]:
            if compare(order, top) > 0:
                top = order
        while kept and compare(kept[-1][0], top) <= 0:
            spare.append((kept[-1][0], kept.pop()[1].ball.abs_upper()))
        total = arb(0)
        for order, bound in spare:
            total += bound * supremum(order, top, self.radius)
        return Growth(tuple(kept), (top, total.upper()))

    def size(self, u: Growth) -> tuple[Order, arb]:
        """Order and bound of |u|.

        Raises:
            NotResolved: u is exactly 0.
        """
        if not u.terms:
            if u.rest is None:
                return ONE, arb(0)
            return u.rest
        top = u.terms[0][0]
        total = arb(0)
        for order, c in u.terms:
            total += c.ball.abs_upper() * supremum(order, top, self.radius)
        if u.rest is not None:
            total += u.rest[1] * supremum(u.rest[0], top, self.radius)
        return top, total.upper()

    def largest(self, u: Growth) -> arb:
        """An upper bound of |u| over the tail.

        Raises:
            NotResolved: u is not known to be bounded.
        """
        order, bound = self.size(u)
        if compare(order, ONE) > 0:
            raise NotResolved("growing terms cancel to an unknown rest")
        return (bound * supremum(order, ONE, self.radius)).upper()

    def add(self, u: Growth, v: Growth) -> Growth:
        """u + v."""
        if u.is_zero or v.is_zero:
            return v if u.is_zero else u
        return self.build((*u.terms, *v.terms), [r for r in (u.rest, v.rest) if r is not None])

    def negative(self, u: Growth) -> Growth:
        """-u."""
        return Growth(tuple((order, -c) for order, c in u.terms), u.rest)

    def subtract(self, u: Growth, v: Growth) -> Growth:
        """u - v."""
        return self.add(u, self.negative(v))

    def multiply(self, u: Growth, v: Growth) -> Growth:
        """u*v."""
        if u.is_zero or v.is_zero:
            return Growth()
        terms = [(a * b, c * d) for a, c in u.terms for b, d in v.terms]
        rests = []
        for one, other in ((u, v), (v, u)):
            if one.rest is not None and other.terms:
                order, bound = self.size(Growth(other.terms))
                rests.append((order * one.rest[0], bound * one.rest[1]))
        if u.rest is not None and v.rest is not None:
            rests.append((u.rest[0] * v.rest[0], u.rest[1] * v.rest[1]))
        return self.build(terms, rests)

    def scaled(self, u: Growth, factor: Coefficient) -> Growth:
        """factor*u."""
        return self.multiply(u, self.constant(factor))

    def relative(self, u: Growth) -> tuple[Growth, arb]:
        """u/lead - 1 for u with a leading term, and a bound of its size."""
        order, c = u.terms[0]
        if len(u.terms) == 1 and u.rest is None:
            return Growth(), arb(0)
        inverse = c.power(fmpq(-1))
        terms = tuple((o / order, d * inverse) for o, d in u.terms[1:])
        rest = None if u.rest is None else (u.rest[0] / order, (u.rest[1] * inverse.ball.abs_upper()).upper())
        eta = Growth(terms, rest)
        if rest is not None and compare(rest[0], ONE) > 0:
            raise NotResolved("growing terms cancel to an unknown rest")
        return eta, self.largest(eta)

    def sign(self, u: Growth) -> int | None:
        """The sign of u on the whole tail; None if unknown. 0 means exactly 0."""
        if u.is_zero:
            return 0
        if not u.terms:
            return None
        _, bound = self.relative(u)
        if not bound < 1:
            raise TryLarger("the leading term does not yet dominate")
        return u.terms[0][1].sign

    def limit(self, u: Growth) -> Coefficient | None:
        """The limit; None if u is not known to have one."""
        if u.rest is not None and compare(u.rest[0], ONE) >= 0:
            return None
        for order, c in u.terms:
            against = compare(order, ONE)
            if against > 0:
                return None
            if against == 0:
                return c
        return coefficient(0)

    def polynomial(self, delta: Growth, values: Sequence[Coefficient], second: arb, third: arb) -> Growth:
        """f0 + f1*delta + f2*delta**2 + a rest of at most third*|delta|**3; the quick form stops at second*|delta|**2.

        Args:
            delta: the argument of the polynomial.
            values: f0, f1, f2.
            second: bound of the second Taylor coefficient over all values of delta.
            third: bound of the third.
        """
        f0, f1, f2 = values
        if delta.is_zero:
            return self.constant(f0)
        total = self.add(self.constant(f0), self.scaled(delta, f1))
        order, bound = self.size(delta)
        power, last = 2, second.abs_upper()
        if self.thorough:
            total = self.add(total, self.scaled(self.multiply(delta, delta), f2))
            power, last = 3, third.abs_upper()
        if not last > 0:
            return total
        return self.add(total, self.bounded(order.power(fmpq(power)), bound**power * last))

    def power(self, u: Growth, a: fmpq, nonnegative: bool = False) -> Growth:
        """u**a by the leading term and the binomial series."""
        if not u.terms:
            return self._power_of_rest(u, a, nonnegative)
        eta, most = self.relative(u)
        if not most < _MOST:
            raise TryLarger("the leading term does not yet dominate")
        order, c = u.terms[0]
        if a.q != 1 and not c.ball > 0:
            raise NotResolved("a root of a negative number")
        lead = Growth(((order.power(a), c.power(a)),))
        if eta.is_zero:
            return lead
        second = a * (a - 1) / 2
        third = second * (a - 2) / 3
        values = (coefficient(1), coefficient(a), coefficient(second))
        bounds = [arb(c) * _largest_power(most, a - k) if c != 0 else arb(0) for k, c in ((2, second), (3, third))]
        return self.multiply(lead, self.polynomial(eta, values, bounds[0], bounds[1]))

    def _power_of_rest(self, u: Growth, a: fmpq, nonnegative: bool) -> Growth:
        if a <= 0:
            raise NotResolved("a division by what may be 0")
        if u.rest is None:
            return Growth()
        if a.q != 1 and not nonnegative:
            raise NotResolved("a root of what may be negative")
        return self.bounded(u.rest[0].power(a), u.rest[1] ** arb(a) if u.rest[1] > 0 else arb(0))

    def split(self, u: Growth) -> tuple[Growth, Coefficient, Growth]:
        """Growing terms, the constant, and what decays (or is only known to be bounded).

        Raises:
            NotResolved: the rest grows.
        """
        if u.rest is not None and compare(u.rest[0], ONE) > 0:
            raise NotResolved("growing terms cancel to an unknown rest")
        growing, decaying, middle = [], [], coefficient(0)
        for term in u.terms:
            against = compare(term[0], ONE)
            if against > 0:
                growing.append(term)
            elif against == 0:
                middle = term[1]
            else:
                decaying.append(term)
        return Growth(tuple(growing)), middle, Growth(tuple(decaying), u.rest)
