"""A context-free grammar of derivatives, derived as a trace of named choices.

Each choice is asked by a name, its path in the derivation tree: "grammar" for the start, then production and child
index, as in "grammar.0.1". The distribution asked for depends on the name alone, so that samplers which model each
name by itself (TPE, random) work unchanged on derivations of any shape.
"""

import math
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from sympy import Expr

from sugar_search.errors import FormulaError, InputError
from sugar_search.symbolic.parse import MAX_NUMBER, NAME, RESERVED, parse

__all__ = ["ROOT", "Chooser", "Constant", "Grammar", "RandomChooser", "derive", "derive_text", "sample"]

ROOT = "grammar"
MAX_MAX_DEPTH = 12
_WORD = re.compile(r"(?<![\w.])[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Constant:
    """A number to be chosen: from [low, high], evenly or in logarithm, or from a grid."""

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    grid: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", tuple(self.grid))  # TOML gives a list

    def faults(self) -> Iterator[str]:
        """What is wrong with it."""
        values = self.grid or (self.low, self.high)
        if not all(isinstance(v, int | float) for v in values) or not isinstance(self.log, bool):
            yield f"its values must be numbers and log true or false, got {(*values, self.log)}"
        elif not all(math.isfinite(v) and abs(v) <= MAX_NUMBER for v in values):
            yield f"its values must be finite and at most {MAX_NUMBER:g} in size, got {values}"
        elif not self.grid and self.low >= self.high:
            yield f"low must be under high, got {self.low:g} and {self.high:g}"
        elif not self.grid and self.log and self.low <= 0:
            yield f"low must be positive when log = true, got {self.low:g}"


class Chooser(Protocol):
    """Answers choices; the same name always comes with the same distribution."""

    def categorical(self, name: str, options: tuple[Any, ...]) -> Any:
        """One of `options`."""

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        """A number in [low, high]."""


@dataclass(frozen=True)
class Grammar:
    """Productions by nonterminal; names in a production are nonterminals, constants, primitives and x.

    Attributes:
        start: the nonterminal of the whole derivative.
        max_depth: most nested productions.
        rules: nonterminal -> productions, such as "where(x > 0, 1, negative)".
        constants: name -> distribution.
    """

    start: str
    max_depth: int
    rules: Mapping[str, tuple[str, ...]]
    constants: Mapping[str, Constant]

    def children(self, production: str) -> list[str]:
        """The nonterminals and constants in a production, in order, repeats included."""
        return [w for w in _WORD.findall(production) if w in self.rules or w in self.constants]

    @cached_property
    def heights(self) -> dict[str, int]:
        """Smallest depth in which each nonterminal can end; missing if it cannot."""
        found: dict[str, int] = {}
        changed = True
        while changed:
            changed = False
            for name, productions in self.rules.items():
                best = min((h for p in productions if (h := self._height(p, found)) is not None), default=None)
                if best is not None and found.get(name) != best:
                    found[name], changed = best, True
        return found

    def _height(self, production: str, known: Mapping[str, int]) -> int | None:
        below = [known.get(child) for child in self.children(production) if child in self.rules]
        return None if None in below else 1 + max((h for h in below if h is not None), default=0)

    def options(self, nonterminal: str, depth: int) -> tuple[tuple[int, str], ...]:
        """Productions, with their index in the rule, that can end within `depth`."""
        numbered = enumerate(self.rules[nonterminal])
        return tuple((i, p) for i, p in numbered if (h := self._height(p, self.heights)) is not None and h <= depth)

    def faults(self) -> list[str]:
        """Everything that is wrong with the grammar, at once; empty if it can be used."""
        found = [*self._faults_of_names(), *self._faults_of_productions()]
        return found or list(self._faults_of_shape())

    def checked(self) -> "Grammar":
        """Itself.

        Raises:
            InputError: it has faults; the message holds them all.
        """
        if found := self.faults():
            raise InputError("a grammar must be well formed", f"{len(found)} fault(s)", "; ".join(found))
        return self

    def _faults_of_names(self) -> Iterator[str]:
        if not isinstance(self.max_depth, int) or not 1 <= self.max_depth <= MAX_MAX_DEPTH:
            yield f"max_depth must be a whole number from 1 to {MAX_MAX_DEPTH}, got {self.max_depth!r}"
        if self.start not in self.rules:
            yield f"start must be one of the rules, got {self.start!r}"
        for name in (*self.rules, *self.constants):
            if not NAME.fullmatch(name) or name in RESERVED:
                yield f"the name {name!r} must be a new ASCII word, not a primitive"
        for name in sorted(set(self.rules) & set(self.constants)):
            yield f"{name!r} must be a rule or a constant, not both"
        for name, constant in self.constants.items():
            yield from (f"constant {name}: {fault}" for fault in constant.faults())

    def _faults_of_productions(self) -> Iterator[str]:
        names = [name for name in (*self.rules, *self.constants) if name not in RESERVED]
        for rule, productions in self.rules.items():
            if not productions:
                yield f"rule {rule} must have a production"
            if len(set(productions)) < len(productions):
                yield f"rule {rule} must not repeat a production"
            for production in productions:
                try:
                    parse(production, names)
                except FormulaError as error:
                    yield f"rule {rule}, {production!r}: {error}"

    def _faults_of_shape(self) -> Iterator[str]:
        for name in self.rules:
            if name not in self.heights:
                yield f"rule {name} must be able to end: each of its productions leads back to itself"
        if self.heights.get(self.start, 0) > self.max_depth:
            yield f"max_depth must be at least {self.heights[self.start]} for {self.start} to end, got {self.max_depth}"
        reached, queue = {self.start}, [self.start]
        while queue:
            for production in self.rules.get(queue.pop(), ()):
                new = [child for child in self.children(production) if child not in reached]
                reached.update(new)
                queue.extend(new)
        for name in (*self.rules, *self.constants):
            if name not in reached:
                yield f"{name} must be used by a rule that {self.start} reaches"


def derive_text(grammar: Grammar, choose: Chooser) -> str:
    """The formula text of one derivation, as the productions write it."""
    return _nonterminal(grammar, choose, grammar.start, ROOT, grammar.max_depth)


def derive(grammar: Grammar, choose: Chooser) -> Expr:
    """The expression of one derivation.

    Raises:
        FormulaError: the choices cancel into something that is no formula (a division by 0, too large a constant).
    """
    return parse(derive_text(grammar, choose))


def _nonterminal(grammar: Grammar, choose: Chooser, name: str, path: str, depth: int) -> str:
    options = grammar.options(name, depth)
    chosen = options[0][1] if len(options) == 1 else choose.categorical(path, tuple(p for _, p in options))
    index = next(i for i, p in options if p == chosen)
    children = iter(range(len(grammar.children(chosen))))

    def expand(match: re.Match[str]) -> str:
        word = match[0]
        if word in grammar.constants:
            return _constant(grammar.constants[word], choose, f"{path}.{index}.{next(children)}")
        if word in grammar.rules:
            return f"({_nonterminal(grammar, choose, word, f'{path}.{index}.{next(children)}', depth - 1)})"
        return word

    return _WORD.sub(expand, chosen)


def _constant(constant: Constant, choose: Chooser, path: str) -> str:
    """The number chosen, with 4 significant digits so that formulas stay short."""
    if constant.grid:
        value = constant.grid[0] if len(constant.grid) == 1 else choose.categorical(path, constant.grid)
    else:
        value = choose.float(path, constant.low, constant.high, constant.log)
    text = f"{value:.4g}"
    return f"({text})" if text.startswith("-") else text


@dataclass(frozen=True)
class RandomChooser:
    """Chooses evenly."""

    rng: random.Random

    def categorical(self, name: str, options: tuple[Any, ...]) -> Any:
        """One of `options`, each as likely."""
        return self.rng.choice(options)

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        """A number in [low, high], even in value or in logarithm."""
        return math.exp(self.rng.uniform(math.log(low), math.log(high))) if log else self.rng.uniform(low, high)


def sample(grammar: Grammar, rng: random.Random) -> Expr:
    """The expression of one random derivation.

    Raises:
        FormulaError: as for `derive`.
    """
    return derive(grammar, RandomChooser(rng))
