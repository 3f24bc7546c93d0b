"""Matches an expression against the template of a production: which expression stands for each child?

Sympy flattens sums and products, merges their numbers and multiplies a number into a sum, so a template no longer
stands in an expression literally. Terms and factors are therefore dealt out among the parts of the template, and
numbers are found from ratios of coefficients. What is found is right or is refused later; not all is found.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import sympy
from sympy import Expr, S

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.primitives import X

__all__ = ["Binding", "Goal", "Spent", "coefficient", "match", "numbers"]

Binding = dict[Expr, tuple[object, Expr]]  # template symbol -> (child, its expression)
_EVEN = (f.absolute, f.normal_pdf)
_MAX_PARTS = 8  # terms or factors dealt out; each one doubles the ways


class Spent(Exception):
    """The budget of steps is used up."""


@dataclass(frozen=True)
class Goal:
    """What a template needs to know of its production.

    Attributes:
        constants: symbols that stand for numbers.
        rules: symbols that stand for expressions.
        names: what each symbol stands for.
        plain: rules that may stand for a number.
        children: every child of an expression that a symbol may stand for.
        scales: the multiples of a child's sentences that may have merged into `e`, for a symbol and e.
        offsets: the numbers that may stand beside the terms e of a child's sentences, for a symbol and e.
        spend: counts one step; raises `Spent`.
    """

    constants: frozenset[Expr]
    rules: frozenset[Expr]
    names: Mapping[Expr, str]
    plain: frozenset[Expr]
    children: Callable[[Expr, Expr], Iterator[object]]
    scales: Callable[[Expr, Expr], Sequence[Expr]]
    offsets: Callable[[Expr, Expr], Sequence[Expr]]
    spend: Callable[[], None]

    def needs(self, part: Expr) -> bool:
        """Whether a part of a sum or product is sure to take a term or factor with x in it."""
        return X in part.free_symbols or not part.free_symbols <= self.constants | self.plain

    def unbound(self, t: Expr, b: Binding) -> bool:
        """Whether t holds a symbol without a binding."""
        return any(s not in b and (s in self.constants or s in self.rules) for s in t.free_symbols)


def match(goal: Goal, t: Expr, e: Expr, b: Binding) -> Iterator[Binding]:
    """The bindings that extend `b` and turn template `t` into `e`."""
    goal.spend()
    if not goal.unbound(t, b):
        if _same(t.xreplace({s: value for s, (_, value) in b.items()}), e):
            yield b
    elif t.is_Symbol:
        for child in goal.children(t, e):
            yield {**b, t: (child, e)}
    elif t.is_Add:
        yield from _sum(goal, t, e, b)
    elif t.is_Mul:
        yield from _product(goal, t, e, b)
    elif t.is_Pow:
        yield from _power(goal, t, e, b)
    elif isinstance(t, f.where):
        yield from _where(goal, t, e, b)
    elif t.func == e.func and len(t.args) == len(e.args):
        yield from _all(goal, list(zip(t.args, e.args)), b)
        if isinstance(t, _EVEN):
            yield from match(goal, t.args[0], -e.args[0], b)


def _same(t: Expr, e: Expr) -> bool:
    return t == e or (t.func == e.func and sympy.expand_mul(t - e) == 0)


def _all(goal: Goal, pairs: Sequence[tuple[Expr, Expr]], b: Binding) -> Iterator[Binding]:
    if not pairs:
        yield b
        return
    for found in match(goal, *pairs[0], b):
        yield from _all(goal, pairs[1:], found)


def _where(goal: Goal, t: Expr, e: Expr, b: Binding) -> Iterator[Binding]:
    """The branches first: in max and min they say what the condition must be. Equal branches have merged."""
    condition, then, other = t.args
    if isinstance(e, f.where):
        yield from _all(goal, [(then, e.args[1]), (other, e.args[2]), (condition, e.args[0])], b)
    if not goal.unbound(condition, b):
        yield from _all(goal, [(then, e), (other, e)], b)


def _power(goal: Goal, t: Expr, e: Expr, b: Binding) -> Iterator[Binding]:
    """Takes the root; that of an even power may have either sign."""
    base, n = t.args
    if goal.unbound(n, b) or not n.is_Rational:
        return
    factors = [factor.as_base_exp() for factor in sympy.Mul.make_args(e)]
    if any(not (power / n).is_Integer and root.free_symbols for root, power in factors):
        return
    roots = [root ** (power / n) for root, power in factors]
    if all(r.free_symbols or r.is_real for r in roots):  # of what holds x, sympy would take milliseconds to say it
        root = sympy.Mul(*roots)
        yield from match(goal, base, root, b)
        if n.is_even:
            yield from match(goal, base, sympy.expand_mul(-root), b)


def numbers(goal: Goal, t: Expr, value: Expr, b: Binding) -> Iterator[Binding]:
    """Bindings of the constants in `t` for which it is the number `value`."""
    goal.spend()
    t = t.xreplace({s: v for s, (_, v) in b.items()})
    free = sorted(t.free_symbols, key=str)
    if not free:
        if t == value:
            yield b
        return
    first = free[0]
    for other in free[1:]:
        # Underdetermined: the other constants are 1, as that is what a formula without them means.
        for child in goal.children(other, S.One):
            yield from numbers(goal, t, value, {**b, other: (child, S.One)})
        return
    inner = t - value
    power = sympy.Poly(inner, first).degree() if inner.is_polynomial(first) else 0
    if power < 1:
        return
    slope = sympy.Poly(inner, first).coeff_monomial(first**power)
    rest = sympy.expand(slope * first**power - inner)
    root = sympy.real_root(rest / slope, power)
    for candidate in (root, -root) if power % 2 == 0 else (root,):
        if sympy.expand(inner.subs(first, candidate)) == 0:
            for child in goal.children(first, candidate):
                yield {**b, first: (child, candidate)}


@lru_cache(maxsize=8192)
def coefficient(e: Expr) -> tuple[Expr, Expr]:
    """The number and the rest of a product."""
    number, rest = e.as_independent(X, *(s for s in e.free_symbols), as_Add=False)
    return number, rest


def _is_number(goal: Goal, t: Expr) -> bool:
    """Whether t is made of numbers and constants only."""
    return not t.free_symbols or t.free_symbols <= goal.constants


def _product(goal: Goal, t: Expr, e: Expr, b: Binding) -> Iterator[Binding]:
    """Deals the factors out; a number times one sum has gone into the terms of that sum."""
    known = sympy.Mul(*[a for a in t.args if _is_number(goal, a)])
    parts = [a for a in t.args if not _is_number(goal, a)]
    if not parts:
        if not e.free_symbols:
            yield from numbers(goal, known, e, b)
        return
    number, rest = coefficient(e)
    if e.is_Add and len(parts) == 1:
        scales = goal.scales(parts[0], e) if known.free_symbols else [known]
        for scale in scales:
            divided = sympy.Add(*[term / scale for term in e.args])
            for found in numbers(goal, known, scale, b):
                yield from match(goal, parts[0], divided, found)
    factors = _copies(rest)
    for part in [a for a in parts if not goal.unbound(a, b)]:
        parts.remove(part)
        for factor in _copies(part):
            if factor not in factors:
                return
            factors.remove(factor)
    if not parts and not factors:
        yield from numbers(goal, known, number, b)
    if not parts or len(factors) > _MAX_PARTS:
        return
    for shares in _deal(factors, parts, [goal.needs(part) for part in parts]):
        goal.spend()
        whole = [sympy.Mul(*share) for share in shares]
        for value, index, extra in _numbers_of(goal, known, parts, number):
            pairs = [(part, w * extra if i == index else w) for i, (part, w) in enumerate(zip(parts, whole))]
            for found in numbers(goal, known, value, b):
                yield from _all(goal, pairs, found)


def _numbers_of(goal: Goal, known: Expr, parts: Sequence[Expr], number: Expr) -> list[tuple[Expr, int, Expr]]:
    """Ways to share a product's number: the value of `known`, and which part takes the rest."""
    if not known.free_symbols:
        return [(known, i, number / known) for i in range(1 if number == known else len(parts))]
    own = [(number / o, i, o) for i, part in enumerate(parts) for o in goal.scales(part, S.One) if o != 1]
    return [(number, 0, S.One), *own]


def _copies(e: Expr) -> list[Expr]:
    """The factors of e; a small whole power is as many equal factors."""
    found: list[Expr] = []
    for factor in sympy.Mul.make_args(e):
        base, power = factor.as_base_exp()
        found += [base] * int(power) if power.is_Integer and 1 < power <= 4 else [factor] if factor != 1 else []
    return found


def _deal(items: Sequence[Expr], parts: Sequence[Expr], needs: Sequence[bool]) -> Iterator[list[list[Expr]]]:
    """Every way to give the items to the parts; a part that is a function takes one item of its kind."""
    if len(parts) == 1:
        if items or not needs[0]:
            yield [list(items)]
        return
    part = parts[0]
    fixed = part.is_Function or part.is_Add
    seen = set()
    for count in (1,) if fixed else range(needs[0], len(items) + 1 - sum(needs[1:])):
        for picked in combinations(range(len(items)), count):
            share = [items[i] for i in picked]
            if (part.is_Function and share[0].func != part.func) or tuple(share) in seen:
                continue
            seen.add(tuple(share))
            for others in _deal([item for i, item in enumerate(items) if i not in picked], parts[1:], needs[1:]):
                yield [share, *others]


def _sum(goal: Goal, t: Expr, e: Expr, b: Binding) -> Iterator[Binding]:
    """Deals the terms out; their numbers have become one."""
    known = sympy.Add(*[a for a in t.args if _is_number(goal, a)])
    parts = [a for a in t.args if not _is_number(goal, a)]
    number, rest = e.as_independent(X, as_Add=True)
    terms = [] if rest == 0 else list(sympy.Add.make_args(rest))
    for part in [a for a in parts if not goal.unbound(a, b)]:
        parts.remove(part)
        filled = part.xreplace({s: value for s, (_, value) in b.items()})
        if filled not in terms:
            return
        terms.remove(filled)
    if not parts and not terms:
        yield from numbers(goal, known, number, b)
    if not parts or len(terms) > _MAX_PARTS:
        return
    for shares in _deal_terms(goal, terms, parts):
        goal.spend()
        yield from _terms(goal, known, parts, shares, number, b)


def _deal_terms(goal: Goal, terms: Sequence[Expr], parts: Sequence[Expr]) -> Iterator[list[list[Expr]]]:
    """As `_deal`; in a mean of two, a term may also come half from each."""
    loose = [S.One] * len(parts)  # terms carry factors, so their kind says nothing
    split = [coefficient(part) for part in parts]
    mean = len(parts) == 2 and all(factor == S.Half for factor, _ in split)
    alike = mean and goal.names.get(split[0][1]) is not None and len({goal.names.get(s) for _, s in split}) == 1
    for shares in _deal(terms, loose, [goal.needs(part) for part in parts]):
        if not (alike and terms) or terms[0] in shares[0]:  # the mirror image says the same
            yield shares
    for count in (1, 2) if mean else ():
        for picked in combinations(terms, count):
            halves = [term / 2 for term in picked]
            for one, two in _deal([term for term in terms if term not in picked], loose, [False, False]):
                if one or two:  # else both are one function, which is then that of the mean
                    yield [[*halves, *one], [*halves, *two]]


def _terms(
    goal: Goal, known: Expr, parts: Sequence[Expr], shares: Sequence[Sequence[Expr]], number: Expr, b: Binding
) -> Iterator[Binding]:
    """Matches each part with its share of the terms and some of the number."""
    if not parts:
        yield from numbers(goal, known, number, b)
        return
    part, share = parts[0], sympy.Add(*shares[0])
    if len(parts) == 1 and not known.free_symbols:
        offsets: Sequence[Expr] = [number - known]
    else:
        loose = [] if goal.needs(part) else [number - known.subs(dict.fromkeys(known.free_symbols, 0))]
        offsets = list(dict.fromkeys([S.Zero, *_offsets(goal, part, share), *loose]))
    for offset in [o for o in offsets if share + o != 0]:
        for found in match(goal, part, share + offset, b):
            yield from _terms(goal, known, parts[1:], shares[1:], number - offset, found)


def _offsets(goal: Goal, part: Expr, share: Expr) -> Iterator[Expr]:
    """Numbers that the sum in a child of `part` may have added to the number of the whole."""
    symbols = sorted(part.free_symbols & goal.rules, key=str)
    if len(symbols) != 1:
        return
    factor = part.coeff(symbols[0])
    if not factor.free_symbols:
        yield from (factor * offset for offset in goal.offsets(symbols[0], share))
    elif factor.free_symbols <= goal.constants:
        for scale in goal.scales(symbols[0], share):
            yield from (scale * offset for offset in goal.offsets(symbols[0], share))
