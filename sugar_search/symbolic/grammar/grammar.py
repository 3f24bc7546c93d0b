"""A context-free grammar of derivatives: rules of formula text, weights, constants, and limits on depth and size.

Sentences are made and read elsewhere: `derivation` makes them from named choices, `sizes` counts them, `variation`
changes them, `recognise` finds the sentence that stands for an expression.
"""

import keyword
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from sugar_search.errors import InputError
from sugar_search.symbolic.family import is_family
from sugar_search.symbolic.grammar.production import Constant, Production
from sugar_search.symbolic.parse import NAME, RESERVED

__all__ = ["MAX_MAX_DEPTH", "MAX_MAX_SIZE", "MAX_SIZE", "SIZES", "Chooser", "Constant", "Grammar", "Production"]

MAX_MAX_DEPTH = 12
MAX_SIZE = 60  # the default
MAX_MAX_SIZE = 150  # a sentence then stays under the limit on formulas
SIZES = ("grammar", "uniform")
_KEYWORDS = ("activation", "region")  # of `surrogate`, beside the parameters


class Chooser(Protocol):
    """Answers choices; the same name always comes with the same distribution."""

    def categorical(self, name: str, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """One of `options`, in proportion to `weights`; all alike without weights."""

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        """A number in [low, high]."""


@dataclass(frozen=True, eq=False)
class Grammar:
    """Productions by rule.

    Attributes:
        start: the rule of the whole derivative.
        max_depth: most nested productions.
        rules: name -> productions; plain text stands for a production of weight 1.
        constants: name -> distribution.
        max_size: most names, numbers and operations of a sentence, a constant counted as one.
        sizes: "grammar" draws by the weights alone; "uniform" draws the size first, each as likely.
    """

    start: str
    max_depth: int
    rules: Mapping[str, tuple[Production, ...]]
    constants: Mapping[str, Constant]
    max_size: int = MAX_SIZE
    sizes: str = "grammar"

    def __post_init__(self) -> None:
        rules = {
            name: tuple(Production(p) if isinstance(p, str) else p for p in productions)
            for name, productions in self.rules.items()
        }
        object.__setattr__(self, "rules", rules)

    def one_sided(self, positive: str) -> "Grammar":
        """The grammar of where(x > 0, positive, start), as a new start rule with that one production.

        Args:
            positive: "one" for the number 1, else a rule's name. The new rule counts as one level of depth.
        """
        name = "one_sided"
        while name in self.rules or name in self.constants:
            name += "_"
        above = "1" if positive == "one" else positive
        rules = {name: (Production(f"where(x > 0, {above}, {self.start})"),), **self.rules}
        return Grammar(name, self.max_depth, rules, self.constants, self.max_size, self.sizes)

    @cached_property
    def heights(self) -> dict[str, int]:
        """Smallest depth in which each rule can end; missing if it cannot."""
        found: dict[str, int] = {}
        changed = True
        while changed:
            changed = False
            for name, productions in self.rules.items():
                best = min((h for p in productions if (h := self._height(p, found)) is not None), default=None)
                if best is not None and found.get(name) != best:
                    found[name], changed = best, True
        return found

    def _height(self, production: Production, known: Mapping[str, int]) -> int | None:
        below = [known.get(child) for child in production.children if child in self.rules]
        return None if None in below else 1 + max((h for h in below if h is not None), default=0)

    @cached_property
    def _options(self) -> dict[tuple[str, int], tuple[tuple[int, Production], ...]]:
        return {}

    def options(self, rule: str, depth: int) -> tuple[tuple[int, Production], ...]:
        """Productions, with their index in the rule, that can end within `depth`."""
        if (rule, depth) not in self._options:
            numbered = enumerate(self.rules[rule])
            self._options[rule, depth] = tuple(
                (i, p) for i, p in numbered if (h := self._height(p, self.heights)) is not None and h <= depth
            )
        return self._options[rule, depth]

    @cached_property
    def least(self) -> dict[tuple[str, int], float]:
        """Smallest size of each rule within each depth; infinite if it cannot end."""
        found: dict[tuple[str, int], float] = {(name, 0): math.inf for name in self.rules}
        for depth in range(1, self.max_depth + 1):
            for name, productions in self.rules.items():
                found[name, depth] = min((self.least_of(p, depth, found) for p in productions), default=math.inf)
        return found

    def least_of(self, p: Production, depth: int, known: Mapping[tuple[str, int], float] | None = None) -> float:
        """Smallest size of a production within `depth`; infinite if it cannot end."""
        known = self.least if known is None else known
        return p.cost + sum(known[c, depth - 1] if c in self.rules else 1 for c in p.children)

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
        limits = (("max_depth", self.max_depth, MAX_MAX_DEPTH), ("max_size", self.max_size, MAX_MAX_SIZE))
        for key, value, most in limits:
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                yield f"{key} must be a whole number from 1 to {most}, got {value!r}"
        if self.sizes not in SIZES:
            yield f"sizes must be {' or '.join(SIZES)}, got {self.sizes!r}"
        if self.start not in self.rules:
            yield f"start must be one of the rules, got {self.start!r}"
        for name in (*self.rules, *self.constants):
            if not NAME.fullmatch(name) or name in RESERVED or keyword.iskeyword(name):
                yield f"the name {name!r} must be a new ASCII word, not a primitive"
        for name in sorted(set(self.rules) & set(self.constants)):
            yield f"{name!r} must be a rule or a constant, not both"
        for name, constant in self.constants.items():
            if constant.parameter is True and (name in _KEYWORDS or is_family(name)):
                yield f"the name {name!r} of a parameter must not be that of a family, nor {' or '.join(_KEYWORDS)}"
            yield from (f"constant {name}: {fault}" for fault in constant.faults())

    def _faults_of_productions(self) -> Iterator[str]:
        names = [name for name in (*self.rules, *self.constants) if name not in RESERVED]
        for rule, productions in self.rules.items():
            if not productions:
                yield f"rule {rule} must have a production"
            if len({p.formula for p in productions}) < len(productions):
                yield f"rule {rule} must not repeat a production"
            for production in productions:
                yield from (f"rule {rule}, {production.formula!r}: {fault}" for fault in production.faults(names))

    def _faults_of_shape(self) -> Iterator[str]:
        for name in self.rules:
            if name not in self.heights:
                yield f"rule {name} must be able to end: each of its productions leads back to itself"
        if self.heights.get(self.start, 0) > self.max_depth:
            yield f"max_depth must be at least {self.heights[self.start]} for {self.start} to end, got {self.max_depth}"
        around = self._around()
        for name in self.rules:
            if not any((name, depth) in around for depth in range(self.max_depth + 1)):
                yield f"{name} must be used by a rule that {self.start} reaches"
                continue
            for p in self.rules[name]:
                sizes = [around.get((name, d), math.inf) + self.least_of(p, d) for d in range(1, self.max_depth + 1)]
                if min(sizes, default=math.inf) > self.max_size:
                    limits = f"max_depth {self.max_depth} and max_size {self.max_size}"
                    yield f"rule {name}, {p.formula!r}: must fit into {limits} in some derivation"
        used = {child for name in self.rules for p in self.rules[name] for child in p.children}
        for name in sorted(set(self.constants) - used):
            yield f"{name} must be used by a rule that {self.start} reaches"

    def _around(self) -> dict[tuple[str, int], float]:
        """Smallest size of the rest of a sentence around a rule that is left with a depth."""
        found: dict[tuple[str, int], float] = {(self.start, self.max_depth): 0}
        for depth in range(self.max_depth, 0, -1):
            for name, productions in self.rules.items():
                outside = found.get((name, depth))
                for p in productions if outside is not None else ():
                    for child in set(p.children) & self.rules.keys():
                        own = self.least[child, depth - 1]
                        rest = math.inf if math.isinf(own) else self.least_of(p, depth) - own
                        key = (child, depth - 1)
                        found[key] = min(found.get(key, math.inf), (outside or 0) + rest)
        return found
