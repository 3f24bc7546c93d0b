"""Orders of growth t**p * log(t)**l * exp(Q(t)), compared without doubt.

Q is a sum of c*t**k with rational k > 0; its coefficients are exact where that is possible (see `coefficient`).
"""

from dataclasses import dataclass

from flint import arb, fmpq

from sugar_search.symbolic.certificates.coefficient import Coefficient, coefficient

__all__ = ["ONE", "Coefficient", "NotResolved", "Order", "TryLarger", "coefficient", "compare", "supremum"]

_ZERO = fmpq(0)


class NotResolved(Exception):
    """The asymptotic rules do not decide this tail; the message says why."""


class TryLarger(NotResolved):
    """A bound does not hold from this radius on, but it may from a larger one."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """t**p * log(t)**l * exp(sum of c*t**k), the rates (k, c) with k falling."""

    p: fmpq = _ZERO
    l: fmpq = _ZERO  # noqa: E741
    rates: tuple[tuple[fmpq, Coefficient], ...] = ()

    def __mul__(self, other: "Order") -> "Order":
        rates = self.rates if not other.rates else other.rates if not self.rates else _merge(self.rates, other.rates)
        return Order(self.p + other.p, self.l + other.l, rates)

    def __truediv__(self, other: "Order") -> "Order":
        rates = self.rates
        if rates is other.rates:
            rates = ()
        elif other.rates:
            rates = _merge(rates, tuple((k, -c) for k, c in other.rates))
        return Order(self.p - other.p, self.l - other.l, rates)

    def power(self, exponent: fmpq) -> "Order":
        """The order of the power of a function."""
        rates: tuple[tuple[fmpq, Coefficient], ...] = ()
        if self.rates and exponent != 0:
            factor = coefficient(exponent)
            rates = tuple((k, c * factor) for k, c in self.rates)
        return Order(self.p * exponent, self.l * exponent, rates)

    def at(self, t: arb) -> arb:
        """Its value at t > 1."""
        result = t ** arb(self.p) if self.p != 0 else arb(1)
        if self.l != 0:
            result = result * t.log() ** arb(self.l)
        if self.rates:
            result = result * sum((c.ball * t ** arb(k) for k, c in self.rates), arb(0)).exp()
        return result


ONE = Order()


def _merge(
    a: tuple[tuple[fmpq, Coefficient], ...], b: tuple[tuple[fmpq, Coefficient], ...]
) -> tuple[tuple[fmpq, Coefficient], ...]:
    total: list[tuple[fmpq, Coefficient]] = list(a)
    for k, c in b:
        for index, (known, value) in enumerate(total):
            if known == k:
                total[index] = (k, value + c)
                break
        else:
            total.append((k, c))
    return tuple(sorted(((k, c) for k, c in total if not c.is_zero), key=lambda item: -item[0]))


def _between(a: Coefficient, b: Coefficient) -> int | None:
    """The sign of a - b; None if unknown."""
    if a is b:
        return 0
    gap = a.ball - b.ball
    return 1 if gap > 0 else -1 if gap < 0 else (a - b).sign


def _faster(a: tuple[tuple[fmpq, Coefficient], ...], b: tuple[tuple[fmpq, Coefficient], ...]) -> int:
    """The sign of the leading term of Q_a - Q_b."""
    i = j = 0
    while i < len(a) or j < len(b):
        if j == len(b) or (i < len(a) and a[i][0] > b[j][0]):
            sign, i = a[i][1].sign, i + 1
        elif i == len(a) or b[j][0] > a[i][0]:
            sign, j = (-b[j][1]).sign, j + 1
        else:
            sign = _between(a[i][1], b[j][1])
            i, j = i + 1, j + 1
        if sign is None:
            raise NotResolved("two rates of exponential growth cannot be told apart")
        if sign:
            return sign
    return 0


def compare(a: Order, b: Order) -> int:
    """1 if a outgrows b, -1 if b outgrows a, 0 if they are the same order.

    Raises:
        NotResolved: two rates are too close to tell apart.
    """
    if a.rates is not b.rates and (sign := _faster(a.rates, b.rates)):
        return sign
    if a.p != b.p:
        return 1 if a.p > b.p else -1
    return (a.l > b.l) - (a.l < b.l)


def supremum(low: Order, high: Order, radius: arb) -> arb:
    """An upper bound of low/high over all t >= radius, where `high` does not grow slower.

    The logarithm of the ratio t**p log(t)**l exp(Q) falls from the radius on when p + l/log(t) + t Q'(t) <= 0 there;
    then its value at the radius is the bound.

    Raises:
        TryLarger: the ratio is not known to fall from this radius on.
    """
    if low is high or compare(low, high) == 0:
        return arb(1)
    ratio = low / high
    slope = arb(ratio.p)
    if ratio.l > 0:
        slope += arb(ratio.l) / radius.log()
    if ratio.rates:
        (k, c), *rest = ratio.rates
        lead = c.ball * arb(k)
        for k2, c2 in rest:
            lead += (c2.ball * arb(k2) * radius ** arb(k2 - k)).union(arb(0))
        if not lead < 0:
            raise TryLarger("an exponential does not yet dominate")
        slope += lead * radius ** arb(k)
    if not slope <= 0:
        raise TryLarger("a lower order does not yet fall against a higher one")
    return ratio.at(radius).upper()
