"""Antiderivatives as linear combinations of products that occur in the derivative, found by linear algebra.

The sum of c_i m_i, with products m_i of x and the functions inside g (and those that their integrals need), must
have derivative g at more points than there are coefficients. The system is solved with 100 digits and the coefficients
become fractions: dependent products, such as exp(x) and sigmoid(x), need no special care, and the cost is milliseconds.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import mpmath
import sympy
from sympy import Expr, Rational, S

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.functions import X
from sugar_search.symbolic.primitives import number

__all__ = ["by_ansatz"]

DIGITS = 100
MAX_PRODUCTS = 60
MAX_POWER = 8
LARGEST_DENOMINATOR = 10**36  # a product of two doubles has 34 digits
FARTHEST = 1_000  # binary exponent of a coefficient

Product = tuple[int, tuple[tuple[Expr, int], ...]]  # power of x, powers of functions


def by_ansatz(g: Expr, low: Expr | None = None, high: Expr | None = None) -> Expr | None:
    """An antiderivative of g, a smooth expression in x, on an interval; None if none has the form.

    Args:
        g: without conditions and signs.
        low: left end of the interval; None for the whole line to that side.
        high: right end, likewise.
    """
    points = _points(low, high)
    total: Expr = S.Zero
    for constant, terms in _groups(g).items():
        found = _solve(terms, points)
        if found is None:
            return None
        total += constant * found
    return total


def _points(low: Expr | None, high: Expr | None) -> list[Expr]:
    """Points spread over the interval, at most 6 from its finite end; none is twice there."""
    left = (Rational(-3) if high is None else high - 6) if low is None else low
    width = 6 if high is None or low is None else high - left
    return [left + width * Rational((k * 377) % 1009 + 1, 1011) for k in range(MAX_PRODUCTS + 8)]


def _groups(g: Expr) -> dict[Expr, list[tuple[Rational, Product]]]:
    """The terms of g as rational coefficients and products, by their common irrational factor."""
    hidden: dict[Expr, Expr] = {}

    def hide(power: Expr) -> Expr:
        return hidden.setdefault(power, sympy.Dummy())

    whole = g.replace(lambda t: t.is_Pow and t.free_symbols and not (t.exp.is_Integer and t.exp > 0), hide)
    # Powers may lie inside others: those that were hidden first.
    shown: dict[Expr, Expr] = {}
    for power, dummy in hidden.items():
        shown[dummy] = power.xreplace(shown)
    groups: dict[Expr, list[tuple[Rational, Product]]] = {}
    for term in sympy.Add.make_args(sympy.expand(whole, power_exp=False, power_base=False, log=False)):
        if term == 0:
            continue
        constant, varying = term.as_independent(X, *shown)
        rational, irrational = constant.as_coeff_Mul()
        groups.setdefault(irrational, []).append((rational, _product(varying, shown)))
    return groups


def _product(term: Expr, shown: dict[Expr, Expr]) -> Product:
    power = 0
    functions: dict[Expr, int] = {}
    for factor in sympy.Mul.make_args(term):
        if factor == 1:
            continue
        base, exponent = (factor, S.One) if isinstance(factor, sympy.exp) else factor.as_base_exp()
        if base == X:
            power += int(exponent)
        else:
            base = shown.get(base, base)
            functions[base] = functions.get(base, 0) + int(exponent)
    return power, tuple(sorted(functions.items(), key=lambda item: sympy.default_sort_key(item[0])))


def _solve(terms: list[tuple[Rational, Product]], points: list[Rational]) -> Expr | None:
    """Coefficients of the products whose derivatives add up to the terms."""
    basis = _basis([item for _, item in terms])
    if basis is None:
        return None
    functions = sorted({a for _, powers in [*basis, *(t for _, t in terms)] for a, _ in powers}, key=str)
    with mpmath.workdps(DIGITS):
        rows = []
        for point in points[: len(basis) + 8]:
            x = number(point)
            values = {a: number(a, x) for a in functions}
            slopes = {a: number(f.differentiate(a), x) for a in functions}
            if any(not mpmath.isfinite(v) or v == 0 for v in values.values()):
                return None
            row = [_slope(item, x, values, slopes) for item in basis]
            rows.append([*row, mpmath.fsum(number(c) * _value(item, x, values) for c, item in terms)])
        # What is small far out must not pass for 0.
        scale = max(abs(row[-1]) for row in rows)
        solved = _eliminate([[*row[:-1], row[-1] / scale] for row in rows], len(basis)) if scale else None
        solution = None if solved is None else [c * scale for c in solved]
    if solution is None:
        return None
    parts = []
    for coefficient, (power, powers) in zip(solution, basis):
        exact = _fraction(coefficient)
        if exact is None:
            return None
        with mpmath.workdps(DIGITS):
            if abs(number(exact) - coefficient) > mpmath.mpf(10) ** (26 - DIGITS):
                return None
        parts.append(sympy.Mul(exact, X**power, *(a**k for a, k in powers)))
    return sympy.Add(*parts)


def _fraction(value: mpmath.mpf) -> Rational | None:
    """The nearest fraction with a denominator of at most 10**36; None for what no formula can hold."""
    # Far out a normal density is 10**-33,000,000, which no fraction could be made of in minutes.
    if value == 0 or mpmath.mag(value) < -FARTHEST:
        return S.Zero
    if mpmath.mag(value) > FARTHEST:
        return None
    fraction = Fraction(mpmath.nstr(value, DIGITS)).limit_denominator(LARGEST_DENOMINATOR)
    return Rational(fraction.numerator, fraction.denominator)


def _value(item: Product, x: mpmath.mpf, values: dict[Expr, mpmath.mpf]) -> mpmath.mpf:
    return x ** item[0] * mpmath.fprod(values[a] ** k for a, k in item[1])


def _slope(item: Product, x: mpmath.mpf, values: dict[Expr, mpmath.mpf], slopes: dict[Expr, mpmath.mpf]) -> mpmath.mpf:
    return _value(item, x, values) * mpmath.fsum(
        [item[0] / x if item[0] else 0, *(k * slopes[a] / values[a] for a, k in item[1])]
    )


def _basis(terms: list[Product]) -> list[Product] | None:
    """Products that an antiderivative may hold, the plain ones first; None if there are too many."""
    highest = max(power for power, _ in terms) + 1
    kinds: dict[tuple[tuple[Expr, int], ...], None] = {}
    for _, powers in terms:
        if highest > MAX_POWER or any(k > MAX_POWER for _, k in powers):
            return None
        for a, _ in powers:
            if a.is_Pow:  # before the others: x**2/(1 + x**2) rather than a sum with squares of its denominator
                kinds |= {((more, 1),): None for more in _integrals(a)}
        for chosen in product(*(range(k + 1) for _, k in powers)):
            kinds[tuple((a, k) for (a, _), k in zip(powers, chosen) if k)] = None
        for a, _ in powers:
            for more in _integrals(a):
                kinds[((more, 1),)] = None
    found = [(power, kind) for kind in kinds for power in range(highest + 1) if power or kind]
    return found if len(found) <= MAX_PRODUCTS else None


def _integrals(a: Expr) -> Iterator[Expr]:
    """Functions that the integral of a product with `a` may need."""
    u = a.args[0]
    if isinstance(a, f.sigmoid):
        yield f.softplus(u)
    elif isinstance(a, f.tanh):
        yield f.softplus(2 * u)
    elif isinstance(a, f.normal_cdf):
        yield f.normal_pdf(u)
    elif isinstance(a, f.normal_pdf):
        yield f.normal_cdf(u)
    elif isinstance(a, sympy.erf):
        yield sympy.exp(-sympy.expand(u**2)) / sympy.sqrt(sympy.pi)
    elif isinstance(a, sympy.atan):
        yield f.log1p(u**2)
    elif isinstance(a, sympy.exp):
        yield from _error_function(sympy.expand(u))
    elif a.is_Pow:
        base, exponent = a.as_base_exp()
        yield base ** (exponent + 1)
        if exponent.is_Integer:
            yield base**-1
            yield from _of_quotient(sympy.expand(base))


def _error_function(u: Expr) -> Iterator[Expr]:
    """For exp(-a x^2 + ...): the error function of its completed square."""
    a, b = -u.coeff(X, 2), u.coeff(X, 1)
    if not a.free_symbols and a.is_positive and not sympy.expand(u + a * X**2 - b * X).free_symbols:
        root = sympy.sqrt(a)
        shift = sympy.exp(sympy.expand(u + a * X**2 - b * X) + b**2 / (4 * a))
        yield sympy.sqrt(sympy.pi) * shift * sympy.erf(root * X - b / (2 * root)) / root


def _of_quotient(base: Expr) -> Iterator[Expr]:
    """The logarithm and the inverse tangent that the integral of 1/base needs.

    Args:
        base: of degree 1 or 2 in x, or p*exp(u) + q*exp(-u).
    """
    powers = [t.as_coeff_Mul() for t in sympy.Add.make_args(base)]
    if len(powers) == 2 and all(isinstance(e, sympy.exp) for _, e in powers):
        (p, up), (q, down) = powers
        if up * down == 1 and (p * q).is_positive:
            yield sympy.atan(sympy.sqrt(p / q) * up)
        return
    a, b = base.coeff(X, 2), base.coeff(X, 1)
    c = sympy.expand(base - a * X**2 - b * X)
    if c.free_symbols or a.free_symbols or b.free_symbols or (a == 0 and b == 0):
        return
    yield f.log1p(sympy.expand(base - 1))
    square = 4 * a * c - b**2
    if a != 0 and square.is_positive:
        yield sympy.atan((2 * a * X + b) / sympy.sqrt(square)) / sympy.sqrt(square)


def _eliminate(rows: list[list[mpmath.mpf]], count: int) -> list[mpmath.mpf] | None:
    """Gaussian elimination with row pivots; columns that add nothing get 0. None if the rows contradict each other."""
    small = mpmath.mpf(10) ** (-DIGITS // 2)
    pivots: list[int] = []
    for column in range(count):
        at = len(pivots)
        best = max(range(at, len(rows)), key=lambda i: abs(rows[i][column]), default=at)
        if at >= len(rows) or abs(rows[best][column]) < small:
            continue
        rows[at], rows[best] = rows[best], rows[at]
        for i in range(len(rows)):
            if i != at and rows[i][column] != 0:
                factor = rows[i][column] / rows[at][column]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[at])]
        pivots.append(column)
    if any(abs(row[-1]) > small for row in rows[len(pivots) :]):
        return None
    solution = [mpmath.mpf(0)] * count
    for row, column in zip(rows, pivots):
        solution[column] = row[-1] / row[column]
    return solution
