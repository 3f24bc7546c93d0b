"""A cheap canonical form: formulas that are plainly the same get the same text.

Structural only (expansion, a few identities, sorted parts), so it is fast and the same in every process. It may tell
two equal functions apart; it never joins two different ones, beyond the rounding of constants to 12 digits.
"""

import hashlib
from functools import lru_cache

import mpmath
import sympy
from sympy import Expr

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.identities import logistic
from sugar_search.symbolic.primitives import X, number

__all__ = ["canonical", "identifier"]

_DIGITS = 12
# Expanding a product with more terms than this would cost more than a missed duplicate.
_MAX_TERMS = 200
_MAX_PARTS = 100
# Conditions that are pulled out of sums and products; each one doubles the work.
_MAX_LIFTED = 3


@lru_cache(maxsize=4096)
def canonical(expression: Expr) -> str:
    """The canonical text of an expression in x; not meant for reading."""
    return _write(_lift(_rewrite(expression), _MAX_LIFTED))


def identifier(expression: Expr) -> str:
    """Twelve hexadecimal digits that name the canonical form."""
    return hashlib.sha256(canonical(expression).encode()).hexdigest()[:12]


def _rewrite(e: Expr) -> Expr:
    """Replaces functions by fewer ones, bottom up: tanh, erf, exponential quotients, softplus in disguise."""
    # Quotients first: once its denominator is rewritten alone, a numerator exp(v) no longer matches it.
    e = logistic(e, _sigmoid) if e.is_Mul or e.is_Pow else e
    if not e.args:
        return e
    e = e.func(*(_rewrite(a) for a in e.args))
    if isinstance(e, f.tanh):
        return 2 * _sigmoid(2 * e.args[0]) - 1
    if isinstance(e, sympy.erf):
        return 2 * _mirrored(f.normal_cdf, sympy.sqrt(2) * e.args[0]) - 1
    if isinstance(e, f.sigmoid):
        return _sigmoid(e.args[0])
    if isinstance(e, f.normal_cdf):
        return _mirrored(f.normal_cdf, e.args[0])
    if isinstance(e, f.normal_pdf):
        return sympy.exp(-(e.args[0] ** 2) / 2) / sympy.sqrt(2 * sympy.pi)
    if isinstance(e, f.log1p) and isinstance(e.args[0], sympy.exp):
        return f.softplus(e.args[0].args[0])
    return e


def _sigmoid(u: Expr) -> Expr:
    return _mirrored(f.sigmoid, u)


def _mirrored(function: type[Expr], u: Expr) -> Expr:
    """F(-u) = 1 - F(u), with the argument whose sign is canonical."""
    u = sympy.expand_mul(u)
    return 1 - function(-u) if u.could_extract_minus_sign() else function(u)


def _lift(e: Expr, budget: int) -> Expr:
    """Pulls conditions out, so that 1 + where(c, 0, u) and where(c, 1, 1 + u) agree, and expands what remains."""
    conditions = sorted({w.args[0] for w in e.atoms(f.where)}, key=sympy.default_sort_key)
    outer = [d for d in conditions if not d.has(f.where)]
    if not outer or budget == 0:
        return _expand(e)
    d = outer[0]
    then = _lift(_choose(e, d, 1), budget - 1)
    other = _lift(_choose(e, d, 2), budget - 1)
    return _where(_expand(d), then, other)


def _choose(e: Expr, d: Expr, branch: int) -> Expr:
    return e.replace(lambda t: isinstance(t, f.where) and t.args[0] == d, lambda t: t.args[branch])


def _where(d: Expr, then: Expr, other: Expr) -> Expr:
    """Conditions linear in x become "x > c"; the branches swap where both agree at c, else the sign stays."""
    slope = d.coeff(X, 1)
    if slope.free_symbols or slope == 0 or (d - slope * X).free_symbols:
        return f.where(d, then, other)
    boundary = -(d - slope * X) / slope
    if number(slope) > 0:
        return f.where(X - boundary, then, other)
    at = number(boundary)
    if abs(number(then, at) - number(other, at)) < 1e-30:  # False for nan
        return f.where(X - boundary, other, then)
    return f.where(boundary - X, then, other)


def _terms(e: Expr) -> int:
    """An upper bound on the number of terms after expansion."""
    if e.is_Add:
        return sum(_terms(a) for a in e.args)
    if e.is_Mul:
        return int(sympy.prod([_terms(a) for a in e.args]))
    if e.is_Pow and e.exp.is_Rational:
        # Sympy also expands (1 + x)**59.3, as the product of the whole and the broken power.
        return _terms(e.base) ** min(abs(int(e.exp)), 64)
    return 1


def _expand(e: Expr) -> Expr:
    parts = [part for part in sympy.preorder_traversal(e) if part.args]
    # Every part counts, as sympy expands arguments of functions too.
    if len(parts) > _MAX_PARTS or any(_terms(part) > _MAX_TERMS for part in parts):
        return e
    return e.expand(power_exp=False, power_base=False, log=False)


def _write(e: Expr) -> str:
    """Parts in sorted order, constants as 12 digits."""
    if not e.free_symbols:
        return _digits(number(e))
    if e.is_Symbol:
        return str(e.name)
    if e.is_Add:
        return _write_sum(e)
    if e.is_Mul:
        coefficient, rest = _split(e)
        return rest if coefficient == 1 else f"{_digits(coefficient)}*{rest}"
    if e.is_Pow:
        return f"({_write(e.base)})^{_write(e.exp)}"
    return f"{e.func.__name__}({','.join(_write(a) for a in e.args)})"


def _write_sum(e: Expr) -> str:
    total: dict[str, object] = {}
    for term in e.args:
        coefficient, rest = _split(term)
        total[rest] = total.get(rest, 0) + coefficient  # type: ignore[operator]
    parts = [(rest, _digits(c)) for rest, c in total.items()]
    return "(" + "+".join(f"{c}*{rest}" for rest, c in sorted(parts) if c != "0") + ")"


def _split(e: Expr) -> tuple[object, str]:
    """A term's constant factor, and the sorted text of the others ("1" if there are none)."""
    factors = sympy.Mul.make_args(e)
    varying = sorted(_write(t) for t in factors if t.free_symbols)
    return number(sympy.Mul(*[t for t in factors if not t.free_symbols])), "*".join(varying) or "1"


def _digits(value: object) -> str:
    text = mpmath.nstr(value, _DIGITS, min_fixed=0, max_fixed=0)
    return "0" if text in ("0.0", "-0.0") else str(text)
