"""Formulas as mathematicians write them: in two dimensions for a terminal, and in LaTeX."""

from typing import Any

import sympy
from sympy import Expr
from sympy.printing.latex import LatexPrinter

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.text import extremum, sides, to_text

__all__ = ["latex", "pretty"]

# Sympy prints these names as Greek letters.
_LETTERS = ((f.sigmoid, "sigma"), (f.normal_cdf, "Phi"), (f.normal_pdf, "phi"))
_AS_TEXT = (f.log1p, f.softplus, f.tanh)


def pretty(expression: Expr, indent: str = "  ") -> str:
    """The formula in two dimensions, conditions with braces."""
    lines = sympy.pretty(_shown(expression), use_unicode=True, wrap_line=False).splitlines()
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def latex(expression: Expr) -> str:
    """The formula in LaTeX, on one line."""
    return " ".join(_Latex().doprint(_shown(expression)).split())


class _Latex(LatexPrinter):  # type: ignore[misc]
    """Sympy's printer, which cannot raise braces to a power."""

    def _print_Piecewise(self, e: Expr, exp: str | None = None) -> str:
        text = str(super()._print_Piecewise(e))
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


def _real(name: str) -> Any:
    """A function to be printed by its name. Real, as sympy refuses to compare what may be complex."""
    return sympy.Function(name, real=True)


def _shown(e: Expr, *, braces: bool = True) -> Expr:
    """The same formula in functions that sympy prints well, its fractions as the decimals that were written.

    Args:
        e: the formula.
        braces: whether conditions may become a `Piecewise`; sympy takes minutes over one in the condition of another.
    """
    if e.is_Rational and not e.is_Integer:
        text = to_text(e)
        return e if "/" in text else sympy.Float(text, max(15, len(text)))
    if not e.args or (isinstance(e, sympy.exp) and not e.free_symbols):
        return e
    if e.is_Pow and e.exp.is_Rational:
        exponent = e.exp if e.exp.q <= 3 else _shown(e.exp)
        return sympy.Pow(_shown(e.base, braces=braces), exponent, evaluate=False)
    if isinstance(e, f.where):
        return _chosen(*e.args, braces=braces)
    parts = [_shown(a, braces=braces) for a in e.args]
    if isinstance(e, f.absolute):
        return sympy.Abs(parts[0], evaluate=False)
    if isinstance(e, f.signum):
        return _real("sign")(*parts)
    for function, name in _LETTERS:
        if isinstance(e, function):
            return _real(name)(*parts)
    if isinstance(e, _AS_TEXT):
        return _real(e.func.__name__)(*parts)
    # A function of a decimal must not become a number.
    return e.func(*parts) if e.is_Add or e.is_Mul else e.func(*parts, evaluate=False)


def _chosen(d: Expr, u: Expr, v: Expr, *, braces: bool) -> Expr:
    """`u if d > 0 else v`: as max or min where it is one, else with braces, else as where(condition, u, v)."""
    then, other = _shown(u, braces=braces), _shown(v, braces=braces)
    if name := extremum(d, u, v):
        return _real(name)(then, other)
    left, right, less = sides(d)
    sign = sympy.Lt if less else sympy.Gt
    condition = sign(_shown(left, braces=False), _shown(right, braces=False), evaluate=False)
    if braces:
        try:
            return sympy.Piecewise((then, condition), (other, True), evaluate=False)
        except TypeError:
            pass  # sympy folds braces within braces even so, and then takes some comparison for one of complex numbers
    return _real("where")(condition, then, other)
