"""Constants in ball arithmetic."""

from functools import lru_cache

import sympy
from flint import arb, ctx, fmpq
from sympy import Expr

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.certificates.enclosing import REAL, ball_power
from sugar_search.symbolic.primitives import BY_CLASS

__all__ = ["constant", "rational"]


def rational(exact: Expr | None) -> fmpq | None:
    """A sympy rational for flint; None if it is not one."""
    return fmpq(int(exact.p), int(exact.q)) if exact is not None and exact.is_Rational else None


def constant(exact: Expr) -> arb:
    """The ball of a constant expression in the working precision."""
    return _constant(exact, ctx.prec)


@lru_cache(maxsize=8192)
def _constant(e: Expr, prec: int) -> arb:
    if e.is_Rational:
        return arb(fmpq(int(e.p), int(e.q)))
    if e.is_Float:
        mantissa = sympy.Rational(e)
        return arb(fmpq(int(mantissa.p), int(mantissa.q)))
    if e == sympy.pi:
        return arb.pi()
    if e == sympy.E:
        return arb.const_e()
    parts = [_constant(a, prec) for a in e.args]
    if e.is_Add:
        return sum(parts[1:], parts[0])
    if e.is_Mul:
        product = parts[0]
        for part in parts[1:]:
            product = product * part
        return product
    if e.is_Pow:
        return _constant_power(parts[0], e.exp, parts[1])
    if isinstance(e, f.where):
        return parts[1] if parts[0] > 0 else parts[2] if parts[0] <= 0 else parts[1].union(parts[2])
    row = BY_CLASS.get(e.func)
    return REAL[row.name](*parts) if row else arb("nan")


def _constant_power(base: arb, exponent: Expr, ball: arb) -> arb:
    if exponent.is_Integer:
        power = base ** abs(int(exponent))
        return power if exponent >= 0 else 1 / power
    return ball_power(base, ball)
