"""Counts of derivations by size, against enumeration, and sampling that is uniform over sizes."""

import itertools
import random
from collections import Counter

import pytest

from sugar_search.search.space import load_space
from sugar_search.symbolic.grammar.derivation import Derivation, sample, size
from sugar_search.symbolic.grammar.grammar import Constant, Grammar, Production
from sugar_search.symbolic.grammar.sizes import count, sizes

GRAMMARS = [
    Grammar("s", 4, {"s": ("sigmoid(s)", "x", "s*s")}, {}, max_size=12),
    Grammar("s", 5, {"s": ("t + k*s", "t"), "t": ("exp(-abs(u))", "u"), "u": ("x", "k*x")}, {"k": Constant()}, 30),
    Grammar("s", 5, {"s": (Production("s", 2), Production("max(s, t)", 0.5), "x"), "t": ("k", "s")}, {"k": Constant()}),
]


def enumerate_all(grammar, rule, depth):
    """Every derivation of a rule, each constant as one value."""
    if depth == 0:
        return
    for index, production in enumerate(grammar.rules[rule]):
        below = [
            [0.5] if name in grammar.constants else list(enumerate_all(grammar, name, depth - 1))
            for name in production.children
        ]
        for children in itertools.product(*below):
            yield Derivation(rule, index, children)


def weight(grammar, node):
    if not isinstance(node, Derivation):
        return 1.0
    found = grammar.rules[node.rule][node.index].weight
    for child in node.children:
        found *= weight(grammar, child)
    return found


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_counts_are_those_of_enumeration(grammar):
    everything = list(enumerate_all(grammar, grammar.start, grammar.max_depth))
    fitting = [d for d in everything if size(grammar, d) <= grammar.max_size]
    number = Counter(size(grammar, d) for d in fitting)
    mass = Counter()
    for derivation in fitting:
        mass[size(grammar, derivation)] += weight(grammar, derivation)
    weighted = sizes(grammar)
    for each in range(grammar.max_size + 1):
        assert count(grammar, each) == number[each]
        assert weighted.total(grammar.start, grammar.max_depth, each) == pytest.approx(mass[each], rel=1e-12)
    assert count(grammar) == len(fitting) > 5
    assert count(grammar, grammar.max_size + 1) == count(grammar, -1) == 0


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_each_share_of_a_count_adds_up(grammar):
    counts = sizes(grammar, weighted=False)
    for rule, depth, each in itertools.product(grammar.rules, range(1, grammar.max_depth + 1), range(1, 20)):
        if each > grammar.max_size:
            continue
        by_production = counts.productions(rule, depth, each)
        assert sum(by_production.values()) == counts.total(rule, depth, each)
        for index, number in by_production.items():
            production = grammar.rules[rule][index]
            if production.children:
                ways = counts.child(rule, depth, index, 0, each - production.cost)
                assert sum(ways.values()) == number


def test_uniform_sizes_draw_each_size_alike_and_each_derivation_by_its_weights():
    rules = {"s": (Production("sigmoid(s)", 3), Production("exp(s)", 1), "x")}
    grammar, rng = Grammar("s", 4, rules, {}, max_size=7, sizes="uniform"), random.Random(1)
    drawn = [sample(grammar, rng) for _ in range(6000)]
    by_size = Counter(size(grammar, d) for d in drawn)
    assert set(by_size) == {1, 3, 5, 7}
    assert all(abs(n / 6000 - 0.25) < 0.025 for n in by_size.values())
    largest = Counter(d for d in drawn if size(grammar, d) == 7)
    total = sum(largest.values())
    assert len(largest) == 8
    for derivation, number in largest.items():
        assert abs(number / total - weight(grammar, derivation) / 4**3) < 0.05


def test_small_formulas_are_not_drowned():
    grammar = load_space("grammar").content.grammar
    uniform = Grammar("surrogate", 5, grammar.rules, grammar.constants, sizes="uniform")
    assert count(uniform) == count(grammar) > 10**9
    small = count(grammar, 3) + count(grammar, 6)
    assert small / count(grammar) < 1e-6
    rng = random.Random(0)
    assert sum(size(uniform, sample(uniform, rng)) < 10 for _ in range(300)) > 20
