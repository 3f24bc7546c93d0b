"""Every function a formula may call: one row each, with its sympy, numpy, mpmath and torch forms.

To add a primitive, add a row to `PRIMITIVES` (and its sympy class to `functions.py` when sympy has none that is safe).
Certificates need its enclosures in `enclosing` and its asymptotic rule in `tail_rules` under the same name; they are
loaded when first asked for, as ball arithmetic costs 35 ms to import.
All forms are stable for large |x|. The torch form is a source template, used for exported code.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import sympy
from sympy import Expr

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.functions import X

__all__ = ["BY_CLASS", "CALLABLE", "PRIMITIVES", "Primitive", "X", "mp_power", "number"]

# Beyond this argument exp is 0 or infinity for every purpose here; mpmath would need unbounded memory instead.
_EXP_LIMIT = 2**80


@dataclass(frozen=True)
class Primitive:
    """One function in all its forms.

    Attributes:
        name: the name used in formula text.
        arity: number of arguments.
        sympy: builds the expression from its arguments.
        numpy: evaluates arrays; keeps float32 and float64.
        mpmath: evaluates `mpf` numbers in the working precision.
        torch: source template; "{0}" is the first argument.
        doc: one line for the reader.
    """

    name: str
    arity: int
    sympy: Callable[..., Expr]
    numpy: Callable[..., Any]
    mpmath: Callable[..., Any]
    torch: str
    doc: str

    @property
    def ball(self) -> Callable[..., Any]:
        """Its enclosure over real balls (`flint.arb`); not finite where it is not defined."""
        return importlib.import_module("sugar_search.symbolic.certificates.enclosing").REAL[self.name]

    @property
    def tail(self) -> Callable[..., Any]:
        """Its asymptotic rule: what it makes of an asymptotic value."""
        return importlib.import_module("sugar_search.symbolic.certificates.tail_rules").RULES[self.name]


def _special(name: str) -> Callable[..., Any]:
    """A `scipy.special` function, imported when first called: importing it costs 100 ms."""

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module("scipy.special"), name)(*arguments)

    return call


def _mp_exp(u: Any) -> Any:
    if abs(u) > _EXP_LIMIT:
        return mpmath.mpf(0) if u < 0 else mpmath.inf
    return mpmath.exp(u)


def _mp_sigmoid(u: Any) -> Any:
    return 1 / (1 + _mp_exp(-u)) if u >= 0 else _mp_exp(u) / (1 + _mp_exp(u))


def _mp_softplus(u: Any) -> Any:
    return max(u, 0 * u) + mpmath.log1p(_mp_exp(-abs(u)))


def _mp_sqrt(u: Any) -> Any:
    return mpmath.sqrt(u) if u >= 0 else mpmath.nan


def _mp_log1p(u: Any) -> Any:
    return mpmath.log1p(u) if u > -1 else (-mpmath.inf if u == -1 else mpmath.nan)


def _mp_tanh(u: Any) -> Any:
    return mpmath.tanh(u) if abs(u) < 1e4 else mpmath.sign(u)


def _mp_erf(u: Any) -> Any:
    # Beyond 1e4 the complement is under 10**-43,000,000, far below any precision used here.
    return mpmath.erf(u) if abs(u) < 1e4 else mpmath.sign(u)


def _mp_normal_cdf(u: Any) -> Any:
    if abs(u) > 1e4:
        return mpmath.mpf(1 if u > 0 else 0)
    return mpmath.erfc(-u / mpmath.sqrt(2)) / 2


def _mp_normal_pdf(u: Any) -> Any:
    return _mp_exp(-u * u / 2) / mpmath.sqrt(2 * mpmath.pi)


def _np_normal_pdf(u: Any) -> Any:
    return 0.3989422804014327 * np.exp(-0.5 * np.square(u))


def _np_softplus(u: Any) -> Any:
    return np.maximum(u, 0) + np.log1p(np.exp(-np.abs(u)))


def _min(a: Expr, b: Expr) -> Expr:
    return f.where(b - a, a, b)


def _max(a: Expr, b: Expr) -> Expr:
    return f.where(a - b, a, b)


def _fn(name: str, sym: Any, num: Any, mp: Any, torch: str, doc: str, arity: int = 1) -> Primitive:
    return Primitive(name, arity, sym, num, mp, torch, doc)


_ROWS = (
    _fn("exp", sympy.exp, np.exp, _mp_exp, "torch.exp({0})", "e**u"),
    _fn("sigmoid", f.sigmoid, _special("expit"), _mp_sigmoid, "torch.sigmoid({0})", "1/(1 + exp(-u))"),
    _fn("tanh", f.tanh, np.tanh, _mp_tanh, "torch.tanh({0})", "hyperbolic tangent"),
    # torch's softplus switches to u at 20, an error of 2e-9; logsigmoid is exact to rounding everywhere.
    _fn("softplus", f.softplus, _np_softplus, _mp_softplus, "-torch.nn.functional.logsigmoid(-{0})", "log(1 + exp(u))"),
    _fn("log1p", f.log1p, np.log1p, _mp_log1p, "torch.log1p({0})", "log(1 + u)"),
    _fn("erf", sympy.erf, _special("erf"), _mp_erf, "torch.erf({0})", "error function"),
    _fn(
        "normal_cdf",
        f.normal_cdf,
        _special("ndtr"),
        _mp_normal_cdf,
        "0.5 * torch.erfc(-0.7071067811865476 * {0})",
        "standard normal distribution function",
    ),
    _fn(
        "normal_pdf",
        f.normal_pdf,
        _np_normal_pdf,
        _mp_normal_pdf,
        "0.3989422804014327 * torch.exp(-0.5 * torch.square({0}))",
        "standard normal density",
    ),
    _fn("atan", sympy.atan, np.arctan, mpmath.atan, "torch.atan({0})", "inverse tangent"),
    _fn("sqrt", sympy.sqrt, np.sqrt, _mp_sqrt, "torch.sqrt({0})", "square root"),
    _fn("abs", f.absolute, np.abs, abs, "torch.abs({0})", "absolute value; derivative sign(u)"),
    _fn("sign", f.signum, np.sign, mpmath.sign, "torch.sign({0})", "-1, 0 or 1; derivative 0"),
    _fn("min", _min, np.minimum, min, "torch.minimum({0}, {1})", "the smaller one; where(a < b, a, b)", 2),
    _fn("max", _max, np.maximum, max, "torch.maximum({0}, {1})", "the larger one; where(a > b, a, b)", 2),
    _fn("square", lambda u: u**2, np.square, lambda u: u * u, "torch.square({0})", "u*u"),
    _fn(
        "recip",
        lambda u: 1 / u,
        np.reciprocal,
        lambda u: _mp_div(1, u),
        "torch.reciprocal({0})",
        "1/u for a positive u",
    ),
    _fn("gt", lambda a, b: a - b, np.greater, lambda a, b: a > b, "{0} > {1}", "a > b, a condition", 2),
    _fn("lt", lambda a, b: b - a, np.less, lambda a, b: a < b, "{0} < {1}", "a < b, a condition", 2),
    _fn(
        "where",
        f.where,
        np.where,
        lambda c, u, v: u if c else v,
        "torch.where({0}, {1}, {2})",
        "where(condition, a, b): a where the condition holds, else b",
        3,
    ),
)
PRIMITIVES: dict[str, Primitive] = {row.name: row for row in _ROWS}

# What formula text may call; the two conditions are written > >= < <=.
CALLABLE: tuple[str, ...] = tuple(name for name in PRIMITIVES if name not in ("gt", "lt"))

# The sympy classes that stand for one primitive each; min, max, square, recip and sqrt become other expressions.
BY_CLASS: dict[Any, Primitive] = {
    row.sympy: row for row in _ROWS if isinstance(row.sympy, type) and row.name != "where"
}


def _mp_div(a: Any, b: Any) -> Any:
    if b == 0:
        return mpmath.nan if a == 0 else mpmath.inf
    return a / b


def mp_power(base: Any, exponent: Any) -> Any:
    """Real power; nan where it is not real and inf at a pole."""
    if base == 0 and exponent < 0:
        return mpmath.inf
    if base < 0 and exponent != int(exponent):
        return mpmath.nan
    return base**exponent


def number(expression: Expr, x: Any = None) -> Any:
    """The `mpf` value of a constant expression, or of one in x at an `mpf`; nan if it is not real.

    Correct in the working precision, 50 digits at least.
    """
    with mpmath.workdps(max(50, mpmath.mp.dps)):
        return +_number(expression, x)


def _number(e: Expr, x: Any) -> Any:
    if e == X and x is not None:
        return x
    if e.is_Rational:
        return mpmath.mpf(int(e.p)) / int(e.q)
    if e.is_Float:
        return mpmath.mpf(e._mpf_)
    if e in (sympy.pi, sympy.E):
        return +(mpmath.pi if e == sympy.pi else mpmath.e)
    parts = [_number(a, x) for a in e.args]
    if e.is_Add:
        return mpmath.fsum(parts)
    if e.is_Mul:
        return mpmath.fprod(parts)
    if e.is_Pow:
        return mp_power(*parts)
    if isinstance(e, f.where):
        return parts[1] if parts[0] > 0 else parts[2]
    row = BY_CLASS.get(e.func)
    return row.mpmath(*parts) if row else mpmath.nan
