"""Changes to derivations that stay sentences of the grammar: mutation and crossover.

Every change replaces one node of the tree by another of the same rule, or of the same constant, that fits into what
the rest of the tree leaves of the limits on depth and size. What fits is known from the counts of `sizes`.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sugar_search.errors import InputError
from sugar_search.symbolic.grammar.derivation import (
    ROOT,
    Derivation,
    RandomChooser,
    constant,
    depth,
    is_sentence,
    sample,
    size,
    subtree,
)
from sugar_search.symbolic.grammar.grammar import Grammar

__all__ = ["KINDS", "cross", "mutate"]

KINDS = ("grow", "shrink", "swap", "constants")
_ATTEMPTS = 200
_STEP = 0.1  # a constant's step, in widths of its range


@dataclass(frozen=True)
class _Place:
    """A node of a tree.

    Attributes:
        path: child indices from the root.
        name: its rule or constant.
        node: what stands there.
        depth: most nested productions it may have.
        room: largest size it may have.
    """

    path: tuple[int, ...]
    name: str
    node: Derivation | float
    depth: int
    room: int


def mutate(grammar: Grammar, derivation: Derivation, rng: random.Random, kind: str | None = None) -> Derivation:
    """A sentence that differs from `derivation` in one place.

    Args:
        grammar: without faults.
        derivation: a sentence of it.
        rng: decides.
        kind: what is tried first, else one at random; the others follow where it is impossible:
            "grow" replaces a node by a larger one of its rule,
            "shrink" replaces a node by a smaller one, by a node of the same rule below it where there is one,
            "swap" exchanges the production of a node and keeps the children that both productions have,
            "constants" draws one number anew, or moves it by a tenth of its range.

    Returns:
        A different sentence within both limits; `derivation` itself only when the grammar has no other.

    Raises:
        InputError: the kind is unknown.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"a kind of mutation must be one of {', '.join(KINDS)}", kind, "choose one of them")
    kinds = [k for k in KINDS if k != kind]
    rng.shuffle(kinds)
    for each in kinds if kind is None else [kind, *kinds]:
        places = list(_places(grammar, derivation))
        rng.shuffle(places)
        for place in places:
            new = _CHANGES[each](grammar, place, rng)
            if new is not None and new != place.node:
                return _replaced(derivation, place.path, new)
    return _another(grammar, derivation, rng)


def cross(grammar: Grammar, a: Derivation, b: Derivation, rng: random.Random) -> Derivation:
    """`a` with one node replaced by a node of `b` of the same rule or constant.

    Returns:
        A sentence within both limits that differs from both; a mutation of `a` when no exchange gives one.
    """
    donors: dict[str, list[Derivation | float]] = {}
    for place in _places(grammar, b):
        donors.setdefault(place.name, []).append(place.node)
    places = [place for place in _places(grammar, a) if place.name in donors]
    rng.shuffle(places)
    for place in places:
        nodes = donors[place.name]
        for node in rng.sample(nodes, len(nodes)):
            if node != place.node and depth(node) <= place.depth and size(grammar, node) <= place.room:
                found = _replaced(a, place.path, node)
                if found != b:
                    return found
    return mutate(grammar, a, rng)


def _places(grammar: Grammar, derivation: Derivation) -> Iterator[_Place]:
    """Every node, the root first."""
    spare = grammar.max_size - size(grammar, derivation)
    stack = [_Place((), grammar.start, derivation, grammar.max_depth, grammar.max_size)]
    while stack:
        place = stack.pop()
        yield place
        if isinstance(place.node, Derivation):
            names = grammar.rules[place.node.rule][place.node.index].children
            for i, (name, child) in enumerate(zip(names, place.node.children)):
                room = spare + size(grammar, child)
                stack.append(_Place((*place.path, i), name, child, place.depth - 1, room))


def _replaced(tree: Derivation, path: tuple[int, ...], new: Derivation | float) -> Derivation:
    if not path:
        assert isinstance(new, Derivation)
        return new
    first, rest = path[0], path[1:]
    below = tree.children[first]
    changed = _replaced(below, rest, new) if isinstance(below, Derivation) else new
    return Derivation(tree.rule, tree.index, (*tree.children[:first], changed, *tree.children[first + 1 :]))


def _grow(grammar: Grammar, place: _Place, rng: random.Random) -> Derivation | float | None:
    if not isinstance(place.node, Derivation):
        return None
    return subtree(grammar, place.name, place.depth, size(grammar, place.node) + 1, place.room, rng)


def _shrink(grammar: Grammar, place: _Place, rng: random.Random) -> Derivation | float | None:
    if not isinstance(place.node, Derivation):
        return None
    below = [each.node for each in _places(grammar, place.node) if each.path and each.name == place.name]
    inside = [node for node in below if isinstance(node, Derivation) and node.rule == place.node.rule]
    if inside:
        return rng.choice(inside)
    return subtree(grammar, place.name, place.depth, 1, size(grammar, place.node) - 1, rng)


def _swap(grammar: Grammar, place: _Place, rng: random.Random) -> Derivation | float | None:
    node = place.node
    if not isinstance(node, Derivation):
        return None
    others = [(i, p) for i, p in grammar.options(place.name, place.depth) if i != node.index]
    others = [(i, p) for i, p in others if grammar.least_of(p, place.depth) <= place.room]
    if not others:
        return None
    index, production = rng.choices(others, [p.weight for _, p in others])[0]
    kept: dict[str, list[Derivation | float]] = {}
    for name, child in zip(grammar.rules[node.rule][node.index].children, node.children):
        kept.setdefault(name, []).append(child)
    room = place.room - int(grammar.least_of(production, place.depth))  # beyond the least that all children need
    children: list[Derivation | float] = []
    for name in production.children:
        least = 1 if name in grammar.constants else int(grammar.least[name, place.depth - 1])
        fits = bool(kept.get(name)) and size(grammar, kept[name][0]) <= least + room
        child = kept[name].pop(0) if fits else _fresh(grammar, name, place.depth - 1, least + room, rng)
        room -= size(grammar, child) - least
        children.append(child)
    return Derivation(place.name, index, tuple(children))


def _fresh(grammar: Grammar, name: str, depth: int, room: int, rng: random.Random) -> Derivation | float:
    if name in grammar.constants:
        return constant(ROOT, grammar.constants[name], RandomChooser(rng))
    found = subtree(grammar, name, depth, 1, room, rng)
    assert found is not None, "the room is never under the least size"
    return found


def _constants(grammar: Grammar, place: _Place, rng: random.Random) -> Derivation | float | None:
    if isinstance(place.node, Derivation):
        return None
    distribution = grammar.constants[place.name]
    for _ in range(_ATTEMPTS):
        if distribution.grid or rng.random() < 0.5:
            value = constant(ROOT, distribution, RandomChooser(rng))
        elif distribution.log:
            width = math.log(distribution.high / distribution.low)
            value = place.node * math.exp(rng.gauss(0, _STEP * width))
        else:
            value = place.node + rng.gauss(0, _STEP * (distribution.high - distribution.low))
        value = distribution.rounded(value)
        if value != place.node:
            return value
    return None


_CHANGES: dict[str, Callable[[Grammar, _Place, random.Random], Derivation | float | None]] = {
    "grow": _grow,
    "shrink": _shrink,
    "swap": _swap,
    "constants": _constants,
}


def _another(grammar: Grammar, derivation: Derivation, rng: random.Random) -> Derivation:
    """Any other sentence: where no single change is left, one may still differ in two places."""
    for _ in range(_ATTEMPTS):
        found = sample(grammar, rng)
        if found != derivation and is_sentence(grammar, found):
            return found
    return derivation
