"""Mutation and crossover: always another sentence within the limits, and each kind does what it says."""

import itertools
import random

import pytest

from sugar_search.errors import InputError
from sugar_search.search.space import load_space
from sugar_search.symbolic.grammar.derivation import Derivation, depth, is_sentence, sample, size
from sugar_search.symbolic.grammar.grammar import Constant, Grammar
from sugar_search.symbolic.grammar.variation import KINDS, cross, mutate

TIGHT = Grammar("s", 3, {"s": ("t + k*s", "t"), "t": ("exp(-abs(x))", "sigmoid(x)")}, {"k": Constant()}, max_size=13)


def parents(name, count=300):
    grammar = TIGHT if name == "tight" else load_space(name).content.grammar
    rng = random.Random(0)
    return grammar, [sample(grammar, rng) for _ in range(count)], rng


def shape(node):
    """The tree without its numbers."""
    return (node.rule, node.index, *map(shape, node.children)) if isinstance(node, Derivation) else None


def differences(a, b):
    """Places where two trees differ, counted at the top only."""
    if a == b:
        return 0
    same = isinstance(a, Derivation) and isinstance(b, Derivation) and (a.rule, a.index) == (b.rule, b.index)
    return sum(map(differences, a.children, b.children)) if same else 1


@pytest.mark.parametrize("name", ["grammar", "one_sided", "tight"])
@pytest.mark.parametrize("kind", [*KINDS, None])
def test_a_mutation_is_another_sentence(name, kind):
    grammar, drawn, rng = parents(name)
    assert grammar.faults() == []
    for parent in drawn:
        child = mutate(grammar, parent, rng, kind)
        assert child != parent
        assert is_sentence(grammar, child)
        assert kind not in ("swap", "constants") or differences(parent, child) == 1


def test_each_kind_does_what_it_says():
    grammar, drawn, rng = parents("grammar")
    for parent in drawn:
        before = size(grammar, parent)
        # The largest parents cannot grow, and the smallest cannot shrink.
        if before < 40:
            assert size(grammar, mutate(grammar, parent, rng, "grow")) > before
        if before > 10:
            assert size(grammar, mutate(grammar, parent, rng, "shrink")) < before
        assert shape(mutate(grammar, parent, rng, "swap")) != shape(parent)
        numbers = str(parent).count("0.") > 0
        assert not numbers or shape(mutate(grammar, parent, rng, "constants")) == shape(parent)


def test_swap_keeps_the_children_that_both_productions_have():
    rules = {"s": ("t*sigmoid(x)", "t + normal_pdf(x)"), "t": ("k*exp(-abs(x))",)}
    grammar = Grammar("s", 2, rules, {"k": Constant(0.1, 1.0)})
    parent = Derivation("s", 0, (Derivation("t", 0, (0.4,)),))
    assert mutate(grammar, parent, random.Random(0), "swap") == Derivation("s", 1, parent.children)


def test_shrink_takes_a_node_from_below_where_there_is_one():
    grammar = Grammar("s", 4, {"s": ("sigmoid(s)", "k*normal_pdf(x)")}, {"k": Constant(0.1, 1.0)})
    inner = Derivation("s", 1, (0.4,))
    parent = Derivation("s", 0, (Derivation("s", 0, (inner,)),))
    assert mutate(grammar, parent, random.Random(0), "shrink") in (inner, Derivation("s", 0, (inner,)))


def test_an_impossible_kind_falls_back_to_another():
    grammar = Grammar("s", 1, {"s": ("sigmoid(x)", "normal_cdf(x)")}, {})
    for kind in KINDS:
        assert mutate(grammar, Derivation("s", 0), random.Random(0), kind) == Derivation("s", 1)


def test_a_fallback_still_changes_one_place():
    grammar = Grammar("s", 1, {"s": ("k*sigmoid(x) + k*normal_pdf(x)",)}, {"k": Constant(0.1, 1.0)})
    parent, rng = Derivation("s", 0, (0.4, 0.6)), random.Random(0)
    for kind in ("grow", "shrink", "swap"):
        children = [mutate(grammar, parent, rng, kind).children for _ in range(20)]
        assert all((a == 0.4) != (b == 0.6) for a, b in children)


def test_the_only_sentence_stays_and_an_unknown_kind_is_refused():
    grammar = Grammar("s", 1, {"s": ("k*sigmoid(x)",)}, {"k": Constant(grid=[1.5])})
    only = Derivation("s", 0, (1.5,))
    for kind in (*KINDS, None):
        assert mutate(grammar, only, random.Random(0), kind) == only
    assert cross(grammar, only, only, random.Random(0)) == only
    with pytest.raises(InputError, match="grow, shrink, swap, constants"):
        mutate(grammar, only, random.Random(0), "point")


def test_constants_move_a_little_or_anywhere_and_stay_in_range():
    grammar = Grammar("s", 1, {"s": ("k*sigmoid(x)",)}, {"k": Constant(0.1, 10.0, log=True)})
    rng = random.Random(0)
    values = [mutate(grammar, Derivation("s", 0, (1.0,)), rng, "constants").children[0] for _ in range(500)]
    assert all(0.1 <= v <= 10 and v != 1 for v in values)
    near = sum(0.5 < v < 2 for v in values) / 500
    assert 0.5 < near < 0.85  # half of them are steps of a tenth of the range, nearly all of those near
    assert len(set(values)) > 400


@pytest.mark.parametrize("name", ["grammar", "one_sided", "tight"])
def test_a_cross_is_a_new_sentence_made_of_both(name):
    grammar, drawn, rng = parents(name)
    mixed = 0
    for a, b in itertools.pairwise(drawn):
        child = cross(grammar, a, b, rng)
        assert child != a
        assert a == b or child != b or name == "tight"
        assert is_sentence(grammar, child)
        assert depth(child) <= grammar.max_depth
        mixed += all(leaf in numbers(a) | numbers(b) for leaf in numbers(child))
    assert mixed > 200  # most are exchanges, not the mutations that stand in for them


def numbers(node):
    if not isinstance(node, Derivation):
        return {node}
    return set().union(*map(numbers, node.children))


def test_the_same_seed_gives_the_same_children():
    grammar, drawn, _ = parents("grammar", 20)
    a, b = ([mutate(grammar, d, rng) for d in drawn] for rng in (random.Random(7), random.Random(7)))
    assert a == b
