"""Formulas as mathematicians write them: in two dimensions for a terminal, and in LaTeX."""

import sympy
from sympy import Expr

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.text import sides, to_text

__all__ = ["latex", "pretty"]

# Sympy prints these names as Greek letters.
_LETTERS = ((f.sigmoid, "sigma"), (f.normal_cdf, "Phi"), (f.normal_pdf, "phi"))


def pretty(expression: Expr, indent: str = "  ") -> str:
    """The formula in two dimensions, conditions with braces."""
    lines = sympy.pretty(_shown(expression), use_unicode=True, wrap_line=False).splitlines()
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)


def latex(expression: Expr) -> str:
    """The formula in LaTeX, on one line."""
    return " ".join(sympy.latex(_shown(expression)).split())


def _shown(e: Expr) -> Expr:
    """The same formula in functions that sympy prints well, its fractions as the decimals that were written."""
    if e.is_Rational and not e.is_Integer:
        text = to_text(e)
        return e if "/" in text else sympy.Float(text, max(15, len(text)))
    if not e.args or (isinstance(e, sympy.exp) and not e.free_symbols):
        return e
    if e.is_Pow and e.exp.is_Rational:
        exponent = e.exp if e.exp.q <= 3 else _shown(e.exp)
        return sympy.Pow(_shown(e.base), exponent, evaluate=False)
    parts = [_shown(a) for a in e.args]
    if isinstance(e, f.where):
        left, right, less = sides(e.args[0])
        condition = (sympy.Lt if less else sympy.Gt)(_shown(left), _shown(right), evaluate=False)
        return sympy.Piecewise((parts[1], condition), (parts[2], True), evaluate=False)
    if isinstance(e, f.absolute):
        return sympy.Abs(parts[0], evaluate=False)
    if isinstance(e, f.signum):
        return sympy.Function("sign")(*parts)
    for function, name in _LETTERS:
        if isinstance(e, function):
            return sympy.Function(name)(*parts)
    if isinstance(e, f.log1p | f.softplus):
        return sympy.Function(e.func.__name__)(*parts)
    # A function of a decimal must not become a number.
    return e.func(*parts) if e.is_Add or e.is_Mul else e.func(*parts, evaluate=False)
