"""Sentences of a grammar, made as a trace of named choices.

Each choice is asked by a name, its path in the derivation tree: "grammar" for the start, then production and child
index, as in "grammar.0.1". The distribution behind a name depends on the name alone, so samplers that model each name
by itself (TPE, random) work unchanged on derivations of any shape. Where the size is drawn first, the names carry it:
"grammar.size" is the size of the whole, "grammar.s30" the production of a start of size 30, "grammar.s30.4.1.r12" the
size of child 1 of its production 4 when 12 are left for that child and those after it.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sugar_search.errors import FormulaError
from sugar_search.symbolic.grammar.grammar import Chooser, Constant, Grammar
from sugar_search.symbolic.grammar.sentence import (
    Derivation,
    Node,
    depth,
    expression,
    formula,
    is_sentence,
    size,
    surrogate_of,
)
from sugar_search.symbolic.grammar.sizes import sizes

__all__ = [
    "ROOT",
    "Derivation",
    "DerivationError",
    "Node",
    "RandomChooser",
    "choices",
    "constant",
    "depth",
    "derive",
    "expression",
    "formula",
    "is_sentence",
    "sample",
    "size",
    "subtree",
    "surrogate_of",
]

ROOT = "grammar"
_ATTEMPTS = 1000


class DerivationError(FormulaError):
    """The choices lead to a sentence beyond the limits."""

    reason = "max_size"


@dataclass(frozen=True)
class RandomChooser:
    """Chooses by weight, and evenly within ranges."""

    rng: random.Random

    def categorical(self, name: str, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """One of `options`."""
        return self.rng.choices(options, weights)[0]

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        """A number in [low, high], even in value or in logarithm."""
        return math.exp(self.rng.uniform(math.log(low), math.log(high))) if log else self.rng.uniform(low, high)


def derive(grammar: Grammar, choose: Chooser) -> Derivation:
    """The derivation that the answers of `choose` lead to.

    Raises:
        DerivationError: it is larger than the grammar allows. Size cannot narrow the options instead, as they would
            then depend on earlier choices.
    """
    if grammar.sizes == "uniform":
        totals = {n: sizes(grammar).total(grammar.start, grammar.max_depth, n) for n in range(grammar.max_size + 1)}
        total = _chosen(choose, f"{ROOT}.size", {n: 1.0 for n, ways in totals.items() if ways})
        return _sized(grammar, choose, f"{ROOT}.s{total}", grammar.start, grammar.max_depth, total)
    return _free(grammar, choose, ROOT, grammar.start, grammar.max_depth, _Least(grammar))


def sample(grammar: Grammar, rng: random.Random) -> Derivation:
    """A random derivation.

    Raises:
        DerivationError: nearly all sentences of the grammar are larger than it allows.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return derive(grammar, RandomChooser(rng))
        except DerivationError:
            continue
    return derive(grammar, RandomChooser(rng))


def subtree(grammar: Grammar, rule: str, depth: int, low: int, high: int, rng: random.Random) -> Derivation | None:
    """A random derivation of `rule` within `depth`, its size uniform over those from `low` to `high` that exist."""
    counts = sizes(grammar)
    possible = [n for n in range(low, min(high, grammar.max_size) + 1) if counts.total(rule, depth, n)]
    if not possible:
        return None
    return _sized(grammar, RandomChooser(rng), ROOT, rule, depth, rng.choice(possible))


def constant(name: str, distribution: Constant, choose: Chooser) -> float:
    """One value of a constant, as a derivation holds it."""
    if not distribution.grid:
        low, high, log = float(distribution.low), float(distribution.high), distribution.log
        return distribution.rounded(choose.float(name, low, high, log))
    grid = tuple(map(float, distribution.grid))
    return grid[0] if len(grid) == 1 else float(choose.categorical(name, grid))


class _Least:
    """The least size that a derivation in the making can still have."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar, self.size = grammar, grammar.least[grammar.start, grammar.max_depth]

    def take(self, rule: str, depth: int, index: int) -> None:
        """Notes the production of one node.

        Raises:
            DerivationError: the derivation can no longer end within the limit. What is left to choose may be thousands
                of nodes.
        """
        grammar = self.grammar
        self.size += grammar.least_of(grammar.rules[rule][index], depth) - grammar.least[rule, depth]
        if self.size > grammar.max_size:
            rule = f"a derivation must have at most {grammar.max_size} names, numbers and operations"
            raise DerivationError(rule, f"{self.size:g} at least", "draw again, or raise max_size")


def _free(grammar: Grammar, choose: Chooser, path: str, rule: str, depth: int, least: _Least) -> Derivation:
    options = grammar.options(rule, depth)
    index = _production(grammar, choose, path, rule, {i: p.weight for i, p in options})
    least.take(rule, depth, index)
    children: list[Derivation | float] = []
    for i, name in enumerate(grammar.rules[rule][index].children):
        below = f"{path}.{index}.{i}"
        if name in grammar.constants:
            children.append(constant(below, grammar.constants[name], choose))
        else:
            children.append(_free(grammar, choose, below, name, depth - 1, least))
    return Derivation(rule, index, tuple(children))


def _sized(grammar: Grammar, choose: Chooser, path: str, rule: str, depth: int, total: int) -> Derivation:
    """A derivation of exactly `total`, each in proportion to the product of its productions' weights."""
    counts = sizes(grammar)
    index = _production(grammar, choose, path, rule, counts.productions(rule, depth, total))
    production = grammar.rules[rule][index]
    rest = total - production.cost
    children: list[Derivation | float] = []
    for i, name in enumerate(production.children):
        below = f"{path}.{index}.{i}"
        own = _chosen(choose, f"{below}.r{rest}", counts.child(rule, depth, index, i, rest))
        rest -= own
        if name in grammar.constants:
            children.append(constant(below, grammar.constants[name], choose))
        else:
            children.append(_sized(grammar, choose, f"{below}.s{own}", name, depth - 1, own))
    return Derivation(rule, index, tuple(children))


def _production(grammar: Grammar, choose: Chooser, path: str, rule: str, weights: dict[int, float]) -> int:
    texts = {grammar.rules[rule][i].formula: weight for i, weight in weights.items()}
    chosen = _chosen(choose, path, texts)
    return next(i for i in weights if grammar.rules[rule][i].formula == chosen)


def _chosen(choose: Chooser, name: str, weights: dict[Any, float]) -> Any:
    """One of the keys; a single one is not asked for."""
    if len(weights) == 1:
        return next(iter(weights))
    chosen = choose.categorical(name, tuple(weights), tuple(map(float, weights.values())))
    if chosen not in weights:
        options = ", ".join(map(str, weights))
        raise FormulaError(f"the choice {name} must be one of its options", chosen, f"choose from {options}")
    return chosen


def choices(grammar: Grammar, derivation: Derivation) -> dict[str, Any]:
    """The named choices from which `derive` makes this derivation again.

    Raises:
        FormulaError: it is no sentence of the grammar.
    """
    if not is_sentence(grammar, derivation):
        raise FormulaError("a derivation must be a sentence of its grammar", derivation, "check rules and limits")
    replay = _Replay(grammar, derivation)
    assert derive(grammar, replay) == derivation
    return replay.asked


class _Replay:
    """Answers every choice as a given derivation has it, and notes the answers."""

    def __init__(self, grammar: Grammar, derivation: Derivation) -> None:
        self.grammar, self.root, self.asked = grammar, derivation, dict[str, Any]()

    def categorical(self, name: str, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """A size, a production's text, or a value of a grid."""
        node = self._node(name)
        if name.rpartition(".")[2].startswith(("r", "size")):
            answer: Any = size(self.grammar, node)
        elif isinstance(node, Derivation):
            answer = self.grammar.rules[node.rule][node.index].formula
        else:
            answer = node
        self.asked[name] = answer
        return answer

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        """The number held."""
        node = self._node(name)
        assert not isinstance(node, Derivation)
        self.asked[name] = node
        return node

    def _node(self, name: str) -> Node:
        """The node at a name's path; the parts that carry sizes are passed over."""
        steps = [int(part) for part in name.split(".")[1:] if part.isdigit()]
        node: Node = self.root
        for child in steps[1::2]:
            assert isinstance(node, Derivation)
            node = node.children[child]
        return node
