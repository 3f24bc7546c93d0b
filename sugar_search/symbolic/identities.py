"""Exponential quotients as sigmoids: one rewrite, shared by the canonical form and by the emission of stable code."""

from collections.abc import Callable

import sympy
from sympy import Expr, S

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.functions import X

__all__ = ["combined", "logistic"]


def logistic(e: Expr, sigmoid: Callable[[Expr], Expr] = f.sigmoid) -> Expr:
    """exp(m*v)/(c + c*exp(v))**n as sigmoid(v)**m * sigmoid(-v)**(n - m) / c**n, for whole 0 <= m <= n.

    Args:
        e: a product or power; anything else comes back as it is.
        sigmoid: builds the sigmoid of an argument.
    """
    factors = list(sympy.Mul.make_args(e))
    for factor in factors:
        base, n = factor.as_base_exp()
        if not (n.is_Integer and n < 0 and base.is_Add and len(base.args) == 2):
            continue
        constant, (c, power) = base.as_independent(X)[0], base.as_independent(X)[1].as_coeff_Mul()
        if not isinstance(power, sympy.exp) or constant != c:
            continue
        v, n = power.args[0], -n
        split = _split([t for t in factors if t is not factor], v, n)
        if split is not None:
            m, rest = split
            return sympy.Mul(*rest, sigmoid(v) ** m, sigmoid(-v) ** (n - m), c**-n)
    return e


def _split(factors: list[Expr], v: Expr, n: Expr) -> tuple[Expr, list[Expr]] | None:
    """m and the other factors, if all exponentials together are exp(m*v) with a whole 0 <= m <= n."""
    exponent = sympy.Add(*[t.args[0] for t in factors if isinstance(t, sympy.exp)])
    m = sympy.cancel(exponent / v) if exponent != 0 else S.Zero
    if not (m.is_Integer and 0 <= m <= n):
        return None
    return m, [t for t in factors if not isinstance(t, sympy.exp)]


def combined(e: Expr) -> Expr:
    """A product or power without factors that overflow against each other.

    Exponential quotients become sigmoids, exp(m*v)*sigmoid(-v)**n too, and exp(a)*exp(b) and exp(a)*normal_pdf(b) one
    exponential.
    """
    e = logistic(e)
    factors = list(sympy.Mul.make_args(e))
    exponentials = [t for t in factors if isinstance(t, sympy.exp)]
    if not exponentials:
        return e
    for factor in factors:
        base, n = factor.as_base_exp()
        v = _logistic_argument(base) if n.is_Integer and n > 0 else None
        split = None if v is None else _split([t for t in factors if t is not factor], v, n)
        if v is not None and split is not None:
            m, rest = split
            return sympy.Mul(*rest, f.sigmoid(v) ** m, f.sigmoid(-v) ** (n - m))
    for one in exponentials if len(exponentials) > 1 else ():
        # One of several exponentials may cancel a denominator on its own: exp(x)*(exp(v)/(1 + exp(v))).
        others = [t for t in exponentials if t is not one]
        part = sympy.Mul(*[t for t in factors if t not in others], evaluate=False)
        if (quotient := logistic(part)) is not part:
            return sympy.Mul(quotient, *others)
    gaussians = [t for t in factors if isinstance(t.as_base_exp()[0], f.normal_pdf) and t.as_base_exp()[1].is_Integer]
    if len(exponentials) + len(gaussians) == 1:
        return e
    exponent, scale = sympy.Add(*[t.args[0] for t in exponentials]), S.One
    for base, n in (t.as_base_exp() for t in gaussians):
        exponent, scale = exponent - n * base.args[0] ** 2 / 2, scale * sympy.sqrt(2 * sympy.pi) ** -n
    return sympy.Mul(*[t for t in factors if t not in (*exponentials, *gaussians)], scale, sympy.exp(exponent))


def _logistic_argument(base: Expr) -> Expr | None:
    """v if `base` is sigmoid(-v) or 1 - sigmoid(v)."""
    if isinstance(base, f.sigmoid):
        return -base.args[0]
    if base.is_Add and len(base.args) == 2 and S.One in base.args and isinstance(-(base - 1), f.sigmoid):
        return (1 - base).args[0]
    return None
