"""How many derivations a grammar has of each size, by dynamic programming, and what uniform sampling needs of that.

The size of a derivation is the number of names, numbers and operations of its formula; a constant counts as one,
whatever its value. Weighted counts give each derivation the product of its productions' weights instead of 1.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from sugar_search.symbolic.grammar.grammar import Grammar

__all__ = ["Sizes", "count", "sizes"]


class Sizes:
    """Counts of a grammar's derivations by rule, depth and size.

    Args:
        grammar: without faults.
        weighted: each derivation counts as the product of its productions' weights (float64), else as 1 (exact).
    """

    def __init__(self, grammar: Grammar, weighted: bool) -> None:
        self.grammar, self.weighted = grammar, weighted
        self._dtype: Any = np.float64 if weighted else object
        self._one = self._array({0: 1})
        self._constant = self._array({1: 1})
        self._totals = {(rule, 0): self._array({}) for rule in grammar.rules}
        self._tails: dict[tuple[str, int, int], list[np.ndarray]] = {}
        for depth in range(1, grammar.max_depth + 1):
            for rule, productions in grammar.rules.items():
                total = self._array({})
                for index in range(len(productions)):
                    tails = self._tails[rule, depth, index] = self._count(rule, depth, index)
                    total = total + self._weight(rule, index) * tails[0]
                self._totals[rule, depth] = total

    def total(self, rule: str, depth: int, size: int) -> Any:
        """Number of derivations of `rule` of exactly `size`, within `depth`."""
        return self._totals[rule, depth][size] if 0 <= size <= self.grammar.max_size else 0

    def productions(self, rule: str, depth: int, size: int) -> dict[int, Any]:
        """Number of derivations of `rule`, by the index of their first production; those with none are left out."""
        found = {i: self._tails[rule, depth, i][0][size] for i in range(len(self.grammar.rules[rule]))}
        return {i: self._weight(rule, i) * n for i, n in found.items() if n}

    def child(self, rule: str, depth: int, index: int, child: int, rest: int) -> dict[int, Any]:
        """Number of ways to fill `rest` with child number `child` and those after it, by the size of that child."""
        name = self.grammar.rules[rule][index].children[child]
        own, after = self._of(name, depth - 1), self._tails[rule, depth, index][child + 1]
        return {size: n for size in range(rest + 1) if (n := own[size] * after[rest - size])}

    def _array(self, values: dict[int, int]) -> np.ndarray:
        found = np.array([0] * (self.grammar.max_size + 1), dtype=self._dtype)
        for size, value in values.items():
            found[size] = value
        return found

    def _weight(self, rule: str, index: int) -> Any:
        return self.grammar.rules[rule][index].weight if self.weighted else 1

    def _of(self, name: str, depth: int) -> np.ndarray:
        return self._totals[name, depth] if name in self.grammar.rules else self._constant

    def _count(self, rule: str, depth: int, index: int) -> list[np.ndarray]:
        """Ways to fill a size with the children from number i on, for each i; the first holds the text itself too."""
        production, length = self.grammar.rules[rule][index], self.grammar.max_size + 1
        tails = [self._one]
        for name in reversed(production.children):
            tails.append(np.convolve(self._of(name, depth - 1), tails[-1])[:length])
        first = self._array({})
        first[min(production.cost, length) :] = tails[-1][: max(0, length - production.cost)]
        return [first, *tails[-2::-1]]


@lru_cache(maxsize=32)
def sizes(grammar: Grammar, weighted: bool = True) -> Sizes:
    """The counts of a grammar, made once."""
    return Sizes(grammar, weighted)


def count(grammar: Grammar, size: int | None = None) -> int:
    """Number of derivations within the grammar's limits, of one size or of any; constants count as one value each."""
    counts = sizes(grammar, weighted=False)
    every = range(grammar.max_size + 1) if size is None else (size,)
    return sum(int(counts.total(grammar.start, grammar.max_depth, each)) for each in every)
