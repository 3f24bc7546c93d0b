"""Functions of asymptotic values: Taylor's formula at a finite limit, exponentials, and logarithms of orders."""

from collections.abc import Callable

from flint import arb, fmpq

from sugar_search.symbolic.certificates.asymptotic import Growth, Rules
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

__all__ = ["exponential", "log_order", "taylor"]

_MOST = 0.9  # largest relative size of the rest beside the leading term


def taylor(r: Rules, u: Growth, function: Callable[[arb], tuple[arb, ...]], exact: tuple[fmpq, ...] | None) -> Growth:
    """F(u) for u with a finite limit, by Taylor's formula about it.

    Args:
        r: the arithmetic of the tail.
        u: the argument.
        function: Taylor coefficients of F on a ball.
        exact: the first three coefficients at 0, if rational.
    """
    growing, middle, delta = r.split(u)
    if growing.terms:
        raise NotResolved("a function outside its asymptotic rules")
    most = r.largest(delta)
    here = function(middle.ball)
    around = function(middle.ball + (-most).union(most))
    if not all(c.is_finite() for c in (*here, *around)):
        raise TryLarger("a function is not defined near its limit")
    if middle.is_zero and exact is not None:
        values = [coefficient(e) for e in exact]
    else:
        values = [Coefficient(c, None) for c in here[:3]]
    return r.polynomial(delta, values, around[2], around[3])


def exponential(r: Rules, u: Growth) -> Growth:
    """exp(u)."""
    try:
        growing, middle, delta = r.split(u)
    except NotResolved:
        # The rest grows too; where u falls, exp(u) vanishes whatever the rest.
        if u.terms and u.terms[0][1].ball < 0:
            return _vanishing(r, u)
        raise
    order = ONE
    for o, c in growing.terms:
        if not o.rates and o.l == 0:
            order = order * Order(rates=((o.p, c),))
        elif not o.rates and o.p == 0 and o.l == 1 and (q := c.rational) is not None:
            order = order * Order(p=q)
        elif growing.terms[0][1].ball < 0:
            return _vanishing(r, u)
        else:
            raise NotResolved("a growth beyond exponentials of powers")
    lead = Growth(((order, coefficient(1) if middle.is_zero else Coefficient(middle.ball.exp(), None)),))
    if delta.is_zero:
        return lead
    most = r.largest(delta)
    half = Coefficient(arb(0.5), {(0, 1): fmpq(1, 2)})
    values = (coefficient(1), coefficient(1), half)
    return r.multiply(lead, r.polynomial(delta, values, most.exp() / 2, most.exp() / 6))


def _vanishing(r: Rules, u: Growth) -> Growth:
    """The bound exp(u) <= exp(-t**k) for u that falls beyond every power's exponential order here."""
    _, most = r.relative(u)
    if not most < _MOST:
        raise TryLarger("the leading term does not yet dominate")
    order, c = u.terms[0]
    for k in (3, 2, 1):
        if compare(Order(p=fmpq(k)), order) >= 0:
            continue
        if supremum(Order(p=fmpq(k)), order, r.radius) <= -c.ball * (1 - most):
            return r.bounded(Order(rates=((fmpq(k), coefficient(-1)),)), arb(1))
    raise TryLarger("a fall beyond exponentials of powers")


def log_order(r: Rules, order: Order) -> Growth:
    """The logarithm of t**p * exp(Q)."""
    terms = [(Order(p=k), c) for k, c in order.rates]
    if order.p != 0:
        terms.append((Order(l=fmpq(1)), coefficient(order.p)))
    return r.build(terms, [])
