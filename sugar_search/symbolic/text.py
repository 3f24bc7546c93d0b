"""Sympy to formula text, the inverse of `parse`: `parse(to_text(e))` is `e` again."""

import re
from decimal import Decimal, localcontext

import sympy
from sympy import Expr, Integer, Rational

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.primitives import BY_CLASS, number

__all__ = ["extremum", "sides", "to_text"]

_SUM, _PRODUCT, _POWER, _ATOM = range(4)
_LARGEST_POWER = 8
_LARGEST_LITERAL = 10**9
_LONGEST_DECIMAL = 40  # digits; a product of two doubles has 34


def to_text(expression: Expr) -> str:
    """The formula text of an expression; constants that are finite decimals are written as decimals.

    Raises:
        ValueError: the expression holds something no formula can (a foreign function, an infinity).
    """
    return _text(expression)[0]


def _text(e: Expr) -> tuple[str, int]:
    """Text and binding strength."""
    if e.is_Rational:
        return _rational(e)
    if e.is_Float:
        return _rational(Rational(repr(float(e))))
    if e.is_Symbol:
        return e.name, _ATOM
    if e in (sympy.pi, sympy.E):
        return ("pi" if e == sympy.pi else "e"), _ATOM
    if e.is_Add:
        return _sum(e), _SUM
    if e.is_Mul:
        return _product(e)
    if e.is_Pow:
        return _product(e) if _negative(e.exp) else _power(e.base, e.exp)
    if isinstance(e, f.where):
        return _where(*e.args), _ATOM
    row = BY_CLASS.get(e.func)
    if row is None:
        raise ValueError(f"no formula text for {e.func.__name__}")
    return f"{row.name}({', '.join(to_text(a) for a in e.args)})", _ATOM


def _wrap(piece: tuple[str, int], least: int) -> str:
    return piece[0] if piece[1] >= least else f"({piece[0]})"


def _negative(e: Expr) -> bool:
    return bool(e.as_coeff_Mul()[0].is_negative)


def _decimal(value: Rational) -> str | None:
    """A non-negative rational as a decimal literal, or None if it is not one of reasonable length."""
    q = int(value.q)
    twos = (q & -q).bit_length() - 1
    fives = 0
    rest = q >> twos
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1 or value > _LARGEST_LITERAL:
        return None
    with localcontext() as context:
        context.prec = 1000
        exact = Decimal(int(value.p)) / Decimal(q)
    digits = len(exact.as_tuple().digits)
    if digits > _LONGEST_DECIMAL:
        return None
    text = format(exact, "f")
    if value != 0 and value < Rational(1, 1000):
        text = re.sub(r"E([+-])", lambda m: f"e{m[1]}", f"{exact:E}")
        text = re.sub(r"\.?0*e", "e", text) if "." in text else text
    return text


def _rational(value: Rational) -> tuple[str, int]:
    sign = "-" if value < 0 else ""
    size = abs(value)
    decimal = _decimal(size)
    if decimal is not None:
        return sign + decimal, _SUM if sign else _ATOM
    p, q = int(size.p), int(size.q)
    return f"{sign}{_literal(p, max(p, q))}/{_literal(q, max(p, q))}", _SUM if sign else _PRODUCT


def _literal(value: int, largest: int) -> str:
    """`value`, scaled by a power of ten so that the larger part of its fraction stays a legal literal."""
    shift = max(0, len(str(largest)) - 9)
    if shift == 0:
        return str(value)
    digits = str(value).rjust(shift + 1, "0")
    text = f"{digits[:-shift]}.{digits[-shift:]}".rstrip("0").rstrip(".")
    return text


def _sum(e: Expr) -> str:
    """Positive terms, then a positive constant, then what is subtracted."""
    terms = list(e.args)
    minus = [t for t in terms if _negative(t)]
    plus = [t for t in terms if t not in minus and not t.is_Number] + [
        t for t in terms if t.is_positive and t.is_Number
    ]
    text = " + ".join(_wrap(_text(t), _PRODUCT) for t in plus)
    for term in minus:
        positive = _wrap(_text(-term), _PRODUCT)
        text = f"{text} - {positive}" if text else f"-{positive}"
    return text


def _product(e: Expr) -> tuple[str, int]:
    """A product as numerator / denominator."""
    coefficient, rest = e.as_coeff_Mul()
    factors = [] if rest == 1 else list(sympy.Mul.make_args(rest))
    above = [t for t in factors if not (t.is_Pow and _negative(t.exp))]
    below = [_power(t.base, -t.exp) for t in factors if t not in above]
    sign = "-" if coefficient < 0 else ""
    size = abs(coefficient)
    decimal = _decimal(size)
    numerator = [_text(t) for t in above]
    divisor = ""
    if size != 1 or not numerator:
        if decimal is None:
            largest = max(int(size.p), int(size.q))
            # Divided by on its own: sympy would distribute a number over a sum in "/(3*(1 + x))".
            divisor = f"/{_literal(int(size.q), largest)}"
            if size.p != 1 or largest > _LARGEST_LITERAL or not numerator:
                numerator.insert(0, (_literal(int(size.p), largest), _ATOM))
        else:
            numerator.insert(0, (decimal, _ATOM))
    text = "*".join(_wrap(piece, _POWER) for piece in numerator) + divisor
    if below:
        bottom = "*".join(_wrap(piece, _POWER) for piece in below)
        text += f"/({bottom})" if len(below) > 1 else f"/{bottom}"
    return sign + text, _SUM if sign else _PRODUCT


def _power(base: Expr, exponent: Expr) -> tuple[str, int]:
    """base**exponent for a positive exponent; powers above the largest legal one are written as products."""
    if exponent == 1:
        return _text(base)
    if exponent == Rational(1, 2):
        return f"sqrt({to_text(base)})", _ATOM
    large = not exponent.free_symbols and number(exponent) > _LARGEST_POWER
    if large and not (exponent.is_Integer and base.is_Symbol):
        # Not as a product, which repeats the base; and abs(x)**8 alone would become x**8.
        halvings = 2
        while number(exponent / halvings) > _LARGEST_POWER:
            halvings *= 2
        return f"({_power(base, exponent / halvings)[0]})**{halvings}", _POWER
    if large:
        eights, rest = int(exponent // _LARGEST_POWER), exponent % _LARGEST_POWER
        pieces = [_power(base, Integer(_LARGEST_POWER))] * eights + ([] if rest == 0 else [_power(base, rest)])
        return "*".join(_wrap(piece, _POWER) for piece in pieces), _PRODUCT
    return f"{_wrap(_text(base), _ATOM)}**{_wrap(_text(exponent), _ATOM)}", _POWER


def _where(d: Expr, u: Expr, v: Expr) -> str:
    """`u if d > 0 else v`, as max or min where it is one."""
    if name := extremum(d, u, v):
        return f"{name}({to_text(u)}, {to_text(v)})"
    left, right, less = sides(d)
    return f"where({to_text(left)} {'<' if less else '>'} {to_text(right)}, {to_text(u)}, {to_text(v)})"


def extremum(d: Expr, u: Expr, v: Expr) -> str:
    """ "max" or "min" if `u if d > 0 else v` is the one of u and v, else ""."""
    return "max" if d == u - v else "min" if d == v - u else ""


def sides(d: Expr) -> tuple[Expr, Expr, bool]:
    """The condition d > 0 as two sides to compare, and whether by "<" instead of ">"; minus signs are avoided."""
    terms = sympy.Add.make_args(d)
    constant = sympy.Add(*[t for t in terms if not t.free_symbols])
    varying = [t for t in terms if t.free_symbols]
    minus = -sympy.Add(*[t for t in varying if _negative(t)])
    plus = sympy.Add(*[t for t in varying if not _negative(t)])
    if plus == 0:
        return minus, constant, True
    if minus == 0 or _negative(constant):
        return plus, minus - constant, False
    return plus + constant, minus, False
