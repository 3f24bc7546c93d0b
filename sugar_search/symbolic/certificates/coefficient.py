"""Coefficients of asymptotic terms: a ball and, where it is known, an exact number.

The exact form is a sum of rationals times pi**(i/2)*sqrt(m), so that 1/2 - (pi/2)/pi is 0 and not merely small.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import sympy
from flint import arb, ctx, fmpq
from sympy import Expr

from sugar_search.symbolic.certificates.constants import constant, rational
from sugar_search.symbolic.certificates.working import working

__all__ = ["Coefficient", "coefficient"]

Exact = dict[tuple[int, int], fmpq]  # (i, m) -> factor of pi**(i/2)*sqrt(m), m squarefree
_MAX_PARTS = 4
_MAX_RADICAND = 10**6
_ZERO = fmpq(0)


@dataclass(frozen=True, slots=True, eq=False)
class Coefficient:
    """A real number: a ball, and its exact form if it has one here."""

    ball: arb
    exact: Exact | None

    def __add__(self, other: "Coefficient") -> "Coefficient":
        if self.exact is None or other.exact is None:
            return Coefficient(self.ball + other.ball, None)
        total = dict(self.exact)
        for key, value in other.exact.items():
            total[key] = total.get(key, _ZERO) + value
            if total[key] == 0:
                del total[key]
        if len(total) > _MAX_PARTS:
            return Coefficient(self.ball + other.ball, None)
        ball = self.ball + other.ball
        return Coefficient(ball if ball > 0 or ball < 0 else _precise(total), total)

    def __neg__(self) -> "Coefficient":
        return Coefficient(-self.ball, None if self.exact is None else {k: -v for k, v in self.exact.items()})

    def __sub__(self, other: "Coefficient") -> "Coefficient":
        return self + -other

    def __mul__(self, other: "Coefficient") -> "Coefficient":
        if self.exact is None or other.exact is None:
            return Coefficient(self.ball * other.ball, None)
        if len(self.exact) == 1 == len(other.exact):
            ((one, a),), ((two, b),) = self.exact.items(), other.exact.items()
            if one[1] == 1 or two[1] == 1:
                return Coefficient(self.ball * other.ball, {(one[0] + two[0], one[1] * two[1]): a * b})
        total: Exact = {}
        for (i, m), a in self.exact.items():
            for (j, n), b in other.exact.items():
                if m == 1 or n == 1:
                    root, rest = 1, m * n
                else:
                    if m * n > _MAX_RADICAND:
                        return Coefficient(self.ball * other.ball, None)
                    root, rest = _squarefree(m * n)
                key = (i + j, rest)
                total[key] = total.get(key, _ZERO) + a * b * root
        total = {k: v for k, v in total.items() if v != 0}
        return Coefficient(self.ball * other.ball, total if len(total) <= _MAX_PARTS else None)

    @property
    def is_zero(self) -> bool:
        """Whether it is 0 for certain."""
        return not self.exact if self.exact is not None else bool(self.ball.is_zero())

    @property
    def sign(self) -> int | None:
        """1, 0, -1, or None when the ball does not tell."""
        if self.is_zero:
            return 0
        return 1 if self.ball > 0 else -1 if self.ball < 0 else None

    @property
    def rational(self) -> fmpq | None:
        """Its value, if it is rational."""
        if self.exact is None or any(key != (0, 1) for key in self.exact):
            return None
        return self.exact.get((0, 1), _ZERO)

    def power(self, exponent: fmpq) -> "Coefficient":
        """A positive number to a rational power; any number but 0 to a whole one."""
        whole = int(exponent.p) if exponent.q == 1 else None
        if whole is not None and 0 <= whole <= 8:
            result = coefficient(1)
            for _ in range(whole):
                result = result * self
            return result
        ball = self.ball ** arb(exponent) if whole is None else _whole_power(self.ball, whole)
        return Coefficient(ball, self._exact_power(exponent))

    def _exact_power(self, exponent: fmpq) -> Exact | None:
        if self.exact is None or len(self.exact) != 1:
            return None
        (((i, m), a),) = self.exact.items()
        if exponent == -1:
            return {(-i, m): 1 / (a * m)}
        if exponent not in (fmpq(1, 2), fmpq(-1, 2)) or m != 1 or i % 2 or a < 0:
            return None
        top, bottom = int(a.p), int(a.q)
        if top * bottom > _MAX_RADICAND:
            return None
        root, rest = _squarefree(top * bottom)  # sqrt(p/q) = sqrt(p*q)/q
        value: Exact = {(i // 2, rest): fmpq(root, bottom)}
        return value if exponent > 0 else {(-i // 2, rest): fmpq(bottom, root * rest)}


def _precise(exact: Exact) -> arb:
    """The ball of an exact number that nearly cancels."""
    with working(8 * ctx.prec):
        ball = arb(0)
        for (i, m), factor in exact.items():
            ball += arb(factor) * arb.pi() ** arb(fmpq(i, 2)) * arb(m).sqrt()
    return ball


def _whole_power(ball: arb, exponent: int) -> arb:
    power = ball ** abs(exponent)
    return power if exponent >= 0 else 1 / power


@lru_cache(maxsize=4096)
def _squarefree(n: int) -> tuple[int, int]:
    """(r, m) with n = r*r*m and m squarefree."""
    root, rest = 1, n
    factor = 2
    while factor * factor <= rest and factor <= isqrt(n):
        while rest % (factor * factor) == 0:
            root, rest = root * factor, rest // (factor * factor)
        factor += 1
    return root, rest


def coefficient(value: int | fmpq | Expr) -> Coefficient:
    """The coefficient of a number, exact where its form allows."""
    if isinstance(value, int | fmpq):
        q = fmpq(value) if isinstance(value, int) else value
        return Coefficient(arb(q), {(0, 1): q} if q != 0 else {})
    q = rational(value)
    return coefficient(q) if q is not None else Coefficient(constant(value), _exact(value))


@lru_cache(maxsize=1024)
def _exact(e: Expr) -> Exact | None:
    parts: Exact = {}
    for term in sympy.Add.make_args(e):
        factor, halves, radicand = sympy.Integer(1), 0, sympy.Integer(1)
        for base, exponent in (t.as_base_exp() for t in sympy.Mul.make_args(term)):
            if base.is_Rational and exponent.is_Integer:
                factor *= base**exponent
            elif base == sympy.pi and (2 * exponent).is_Integer:
                halves += int(2 * exponent)
            elif base.is_Rational and base > 0 and (2 * exponent).is_Integer:
                factor *= base ** (exponent - sympy.Rational(1, 2))
                radicand *= base
            else:
                return None
        product = int(radicand.p) * int(radicand.q)  # sqrt(p/q) = sqrt(p*q)/q
        if product > _MAX_RADICAND:
            return None
        square, rest = _squarefree(product)
        key = (halves, rest)
        value = fmpq(int(factor.p), int(factor.q)) * fmpq(square, int(radicand.q))
        parts[key] = parts.get(key, _ZERO) + value
    return {k: v for k, v in parts.items() if v != 0}
