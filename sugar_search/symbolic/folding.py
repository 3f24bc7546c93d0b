"""Constants inside expressions: which ones are real, and roots as decimals where sympy's exact form is unstable."""

import mpmath
import sympy
from sympy import Expr, Rational, S

from sugar_search.symbolic.limits import MAX_NUMBER
from sugar_search.symbolic.primitives import number

__all__ = ["NOT_REAL", "constant_part", "folded", "is_real", "is_root"]

NOT_REAL = (S.ComplexInfinity, S.NaN, S.Infinity, S.NegativeInfinity, S.ImaginaryUnit)


def constant_part(e: Expr) -> Expr | None:
    """The constant among the terms or factors of e, if it has more than one part."""
    if not (e.is_Add or e.is_Mul):
        return None
    parts = [a for a in e.args if not a.free_symbols]
    return e.func(*parts) if any(not a.is_Number for a in parts) else None


def is_root(t: Expr) -> bool:
    """Whether this is a root of a number that sympy keeps in an unstable or unreadable exact form.

    Square roots of short numbers stay exact; 2**0.55*2**0.6 would be split and merged at sympy's whim.
    """
    if not (t.is_Pow and t.base.is_Rational and not t.exp.free_symbols):
        return False
    if not t.exp.is_Rational:
        return True  # 100000**pi is no legal constant, though its reciprocal is
    return bool(t.exp.q > 2 or max(abs(t.base.p), t.base.q) > MAX_NUMBER)


def folded(t: Expr) -> Expr:
    """The root to 30 digits; unchanged where it is not real, which is refused later."""
    value = number(t)
    return Rational(mpmath.nstr(value, 30)) if mpmath.isfinite(value) else t


def is_real(e: Expr) -> bool:
    """Whether e holds no infinity, imaginary unit, or power that is constant and not real."""
    powers = [p for p in e.atoms(sympy.Pow) if not p.free_symbols]
    return not e.has(*NOT_REAL) and all(number(p) == number(p) for p in powers)
