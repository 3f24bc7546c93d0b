"""Finds the sentence of a grammar that stands for an expression, so that a sampler can learn from known surrogates."""

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import sympy
from sympy import Expr, S

from sugar_search.errors import FormulaError
from sugar_search.symbolic.canonical import canonical
from sugar_search.symbolic.functions import where
from sugar_search.symbolic.grammar.derivation import Derivation, Node, expression, is_sentence
from sugar_search.symbolic.grammar.grammar import Grammar, Production
from sugar_search.symbolic.grammar.matching import Goal, Spent, coefficient, match
from sugar_search.symbolic.primitives import X

__all__ = ["LIMIT", "recognise"]

LIMIT = 2500  # steps of matching; about 150 ms
_MAX_OFFSETS = 8


def recognise(grammar: Grammar, expr: Expr, limit: int = LIMIT) -> Derivation | None:
    """A derivation whose expression is the same function as `expr`, or None when none is found.

    Terms and factors are matched in any order, and numbers as far as they follow from coefficients; a function that
    the grammar writes in a quite different form is not found. The result is checked by the canonical form.

    Args:
        grammar: without faults.
        expr: a derivative in x alone.
        limit: steps of matching, after which the search ends.
    """
    search = _Search(grammar, limit)
    try:
        for form in _forms(expr):
            found = search.rule(grammar.start, form, grammar.max_depth)
            if found is not None and is_sentence(grammar, found) and _stands_for(grammar, found, expr):
                return found
    except Spent:
        pass
    return None


def _stands_for(grammar: Grammar, found: Derivation, expr: Expr) -> bool:
    try:
        made = expression(grammar, found)
    except FormulaError:
        return False
    return bool(made == expr) or canonical(made) == canonical(expr)


def _forms(expr: Expr) -> Iterator[Expr]:
    """The expression, and those with one sum in a product multiplied out."""
    yield expr
    factors = sympy.Mul.make_args(expr)
    for factor in factors:
        if factor.is_Add and len(factors) > 1:
            others = sympy.Mul(*[other for other in factors if other is not factor])
            yield sympy.Add(*[term * others for term in factor.args])


@lru_cache(maxsize=4096)
def _functions(e: Expr) -> frozenset[Any]:
    return frozenset(type(function) for function in e.atoms(sympy.Function))


@lru_cache(maxsize=32)
def _reach(grammar: Grammar) -> dict[str, frozenset[Any]]:
    """The functions that the sentences of each rule may hold."""
    found: dict[str, frozenset[Any]] = {name: frozenset() for name in grammar.rules}
    for _ in grammar.rules:
        for name, productions in grammar.rules.items():
            for p in productions:
                below = (found[child] for child in p.children if child in grammar.rules)
                found[name] = found[name].union(_functions(p.template), *below)
    return found


@lru_cache(maxsize=32)
def _plain(grammar: Grammar) -> frozenset[str]:
    """The rules that have a number among their sentences."""
    found: frozenset[str] = frozenset(grammar.constants)
    for _ in grammar.rules:
        for name, productions in grammar.rules.items():
            if any(X not in p.template.free_symbols and found.issuperset(p.children) for p in productions):
                found |= {name}
    return found


@lru_cache(maxsize=1024)
def _calls(production: Production) -> int:
    return len(production.template.atoms(sympy.Function))


class _Search:
    """One search: what each rule can stand for, remembered, within a budget of steps."""

    def __init__(self, grammar: Grammar, limit: int) -> None:
        self.grammar, self.left = grammar, limit
        self.known: dict[tuple[str, Expr, int], Derivation | None] = {}
        self.reach, self.plain = _reach(grammar), _plain(grammar)
        self.calls: dict[tuple[str, int], int] = {}
        self.added: dict[tuple[str, int], dict[Expr, frozenset[Any]]] = {}

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Spent

    def rule(self, name: str, e: Expr, depth: int) -> Derivation | None:
        key = (name, e, depth)
        if key not in self.known:
            possible = _functions(e) <= self.reach[name] and len(e.atoms(sympy.Function)) <= self.most(name, depth)
            self.known[key] = next(self._derivations(name, e, depth), None) if possible else None
        return self.known[key]

    def most(self, name: str, depth: int) -> int:
        """Most different calls of functions that a sentence of a rule can hold."""
        if name not in self.grammar.rules:
            return 0
        if (name, depth) not in self.calls:
            options = self.grammar.options(name, depth)
            each = (_calls(p) + sum(self.most(child, depth - 1) for child in p.children) for _, p in options)
            self.calls[name, depth] = max(each, default=0)
        return self.calls[name, depth]

    def _derivations(self, name: str, e: Expr, depth: int) -> Iterator[Derivation]:
        options = self.grammar.options(name, depth)
        for index, production in sorted(options, key=lambda option: self._branches(option[1])):
            # Equal branches of a where merge; every other function that a template has stays in sight.
            if not _functions(production.template) - {where} <= _functions(e):
                continue
            goal = self._goal(production, depth)
            for found in match(goal, production.template, e, {}):
                if len(found) == len(production.children):
                    children = tuple(found[symbol][0] for symbol in production.symbols)
                    yield Derivation(name, index, children)  # type: ignore[arg-type]

    def _branches(self, production: Production) -> int:
        """Rules among the children: the fewer, the sooner it is known whether it matches."""
        return sum(child in self.grammar.rules for child in production.children)

    def _goal(self, production: Production, depth: int) -> Goal:
        named = dict(zip(production.symbols, production.children))
        constants = frozenset(s for s, name in named.items() if name in self.grammar.constants)

        def children(symbol: Expr, e: Expr) -> Iterator[Node]:
            if symbol in constants:
                yield from self._constant(named[symbol], e)
            elif (found := self.rule(named[symbol], e, depth - 1)) is not None:
                yield found

        def offsets(symbol: Expr, e: Expr) -> list[Expr]:
            beside = self._offsets(named[symbol], depth - 1)
            return [value for value, functions in beside.items() if functions <= _functions(e)]

        scales = partial(self._scales, named, depth - 1)
        rules = frozenset(named) - constants
        plain = frozenset(s for s in rules if named[s] in self.plain)
        return Goal(constants, rules, named, plain, children, scales, offsets, self.spend)

    def _constant(self, name: str, e: Expr) -> Iterator[float]:
        if e.is_Rational:
            value = float(e)
            if self.grammar.constants[name].holds(value):
                yield value

    def _templates(self, name: str, depth: int) -> Iterator[Expr]:
        """The templates of a rule, and of those that stand alone in its productions."""
        for _, production in self.grammar.options(name, depth):
            if (
                production.template.is_Symbol
                and production.children[:1]
                and production.children[0] in self.grammar.rules
            ):
                yield from self._templates(production.children[0], depth - 1)
            else:
                yield production.template

    def _scales(self, named: dict[Expr, str], depth: int, part: Expr, e: Expr) -> list[Expr]:
        """By which numbers a sentence may have been multiplied to give `e`: ratios of coefficients."""
        templates = [part]
        if part in named:
            templates = list(self._templates(named[part], depth))
        below = {coefficient(term)[0] for t in templates for term in sympy.Add.make_args(t) if term.free_symbols}
        above = {coefficient(term)[0] for term in sympy.Add.make_args(e) if term.free_symbols or e == 1}
        ratios = [a / c for a in above for c in below] if e != 1 else list(below)
        return sorted(dict.fromkeys(ratios), key=sympy.default_sort_key)

    def _offsets(self, name: str, depth: int) -> dict[Expr, frozenset[Any]]:
        """Numbers that sentences of a rule add, as far as they stand in its productions, and functions beside them."""
        if (name, depth) in self.added:
            return self.added[name, depth]
        found: dict[Expr, frozenset[Any]] = {}
        for _, production in self.grammar.options(name, depth):
            named = dict(zip(production.symbols, production.children))
            number, rest = production.template.as_independent(X, *named, as_Add=True)
            sums = {number: _functions(production.template)}
            for term in sympy.Add.make_args(rest):
                factor, symbol = coefficient(term)
                if named.get(symbol) in self.grammar.rules and depth > 1:
                    below = self._offsets(named[symbol], depth - 1)
                    sums |= {s + factor * o: have | more for s, have in sums.items() for o, more in below.items()}
            for value, have in sums.items():
                found[value] = found.get(value, have) & have
        found.pop(S.Zero, None)
        self.added[name, depth] = dict(list(found.items())[:_MAX_OFFSETS])
        return self.added[name, depth]
