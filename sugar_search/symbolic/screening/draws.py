"""Many derivations of a grammar at once, drawn top down into banks of shared subexpressions.

A bank holds derivations of one rule within one depth. A derivation refers to its children by their index in the banks
one level below, so one child serves several parents. Every derivation taken alone has exactly the grammar's
distribution: its production, its constants and, where sizes are drawn first, its sizes are its own, and each entry of a
bank is an independent draw. Sharing only correlates derivations with one another: the children of one derivation come
from different lanes of a bank, all the way down, so that no entry occurs in it twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sugar_search.symbolic.grammar.derivation import Derivation
from sugar_search.symbolic.grammar.grammar import Constant, Grammar
from sugar_search.symbolic.grammar.sizes import sizes

__all__ = ["Bank", "Group", "Plan", "draw"]

# Parents that share one entry of a bank, on average.
_SHARED = 4
_SMALLEST = 16
_LANES = 2**48

Name = tuple[str, int]  # a rule and the depth left to it


@dataclass(frozen=True)
class Group:
    """The entries of a bank that have the same production.

    Attributes:
        index: the production.
        rows: their positions in the bank, shape (n,).
        children: for each child, its entries in the bank of its rule one level below (int), or its values (float64).
    """

    index: int
    rows: np.ndarray
    children: tuple[np.ndarray, ...]


@dataclass
class Bank:
    """Derivations of one rule within one depth.

    Attributes:
        rule: its name.
        depth: most nested productions.
        classes: lane and size of each entry, as lane * (max_size + 1) + size; sorted, shape (n,). The size is 0 unless
            sizes are drawn first. The lane is the path of the branchings above, as digits after a leading 1.
        groups: the entries by production.
        sizes: names, numbers and operations of each entry, shape (n,).
    """

    rule: str
    depth: int
    classes: np.ndarray
    groups: list[Group] = field(default_factory=list)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class Plan:
    """Banks by rule and depth; the derivations drawn are the entries of `top`."""

    grammar: Grammar
    banks: Mapping[Name, Bank]

    @property
    def top(self) -> Bank:
        """The bank of the start rule."""
        return self.banks[self.grammar.start, self.grammar.max_depth]

    def derivation(self, row: int) -> Derivation:
        """Entry `row` of `top`."""
        return self._derivation(self.top, row)

    def _derivation(self, bank: Bank, row: int) -> Derivation:
        for group in bank.groups:
            at = int(np.searchsorted(group.rows, row))
            if at < len(group.rows) and group.rows[at] == row:
                break
        names = self.grammar.rules[bank.rule][group.index].children
        children = [
            self._derivation(self.banks[name, bank.depth - 1], int(child[at]))
            if name in self.grammar.rules
            else float(child[at])
            for name, child in zip(names, group.children)
        ]
        return Derivation(bank.rule, group.index, tuple(children))


def draw(grammar: Grammar, count: int, rng: np.random.Generator) -> Plan:
    """Draws `count` derivations.

    Args:
        grammar: without faults. With sizes = "grammar" some entries may be larger than max_size: see `Bank.sizes`.
        count: how many.
        rng: where the randomness comes from.
    """
    top = (grammar.start, grammar.max_depth)
    banks = {top: Bank(*top, _first_classes(grammar, count, rng))}
    for depth in range(grammar.max_depth, 0, -1):
        asked: dict[Name, list[tuple[np.ndarray, bool]]] = {}
        drafts = [(banks[name, d], _draft(grammar, banks[name, d], rng)) for name, d in banks if d == depth]
        for bank, draft in drafts:
            for index, _, classes in draft:
                names = grammar.rules[bank.rule][index].children
                for name, wanted in zip(names, classes):
                    if name in grammar.rules:
                        asked.setdefault((name, depth - 1), []).append((wanted, len(names) == 1))
        below = {name: _sized_bank(name, requests) for name, requests in asked.items()}
        for bank, draft in drafts:
            bank.groups = [_referred(grammar, bank, below, *entry, rng) for entry in draft]
        banks.update(below)
    for bank in sorted(banks.values(), key=lambda b: b.depth):
        _measure(grammar, banks, bank)
    return Plan(grammar, banks)


def _first_classes(grammar: Grammar, count: int, rng: np.random.Generator) -> np.ndarray:
    lane = grammar.max_size + 1
    if grammar.sizes != "uniform":
        return np.full(count, lane, dtype=np.int64)
    counts = sizes(grammar)
    possible = [n for n in range(grammar.max_size + 1) if counts.total(grammar.start, grammar.max_depth, n)]
    return lane + np.sort(rng.choice(possible, count))


Draft = list[tuple[int, np.ndarray, list[np.ndarray]]]  # production, rows, for each child the class wanted


def _draft(grammar: Grammar, bank: Bank, rng: np.random.Generator) -> Draft:
    """Productions of a bank's entries, and the classes of their children."""
    counts = sizes(grammar) if grammar.sizes == "uniform" else None
    lanes, own = np.divmod(bank.classes, grammar.max_size + 1)
    chosen = np.empty(len(own), dtype=np.int64)
    for size in np.unique(own):
        rows = own == size
        if counts is None:
            weights: Mapping[int, float] = {i: p.weight for i, p in grammar.options(bank.rule, bank.depth)}
        else:
            weights = counts.productions(bank.rule, bank.depth, int(size))
        chosen[rows] = _drawn(weights, int(rows.sum()), rng)
    branches = max(len(p.children) for productions in grammar.rules.values() for p in productions)
    draft: Draft = []
    for index in map(int, np.unique(chosen)):
        rows, production = np.flatnonzero(chosen == index), grammar.rules[bank.rule][index]
        nested = [i for i, name in enumerate(production.children) if name in grammar.rules]
        rest, wanted = own[rows] - production.cost, []
        for i in range(len(production.children)):
            # The remainder keeps a lane within int64 in grammars of very many branches.
            lane = lanes[rows] if len(nested) < 2 else (lanes[rows] * branches + i) % _LANES
            size = np.zeros(len(rows), dtype=np.int64)
            if counts is not None:
                for value in np.unique(rest):
                    same, ways = rest == value, counts.child(bank.rule, bank.depth, index, i, int(value))
                    size[same] = _drawn(ways, int(same.sum()), rng)
            rest = rest - size
            wanted.append(lane * (grammar.max_size + 1) + size)
        draft.append((index, rows, wanted))
    return draft


def _drawn(weights: Mapping[int, float], count: int, rng: np.random.Generator) -> np.ndarray:
    """Keys in proportion to their weights, shape (count,)."""
    keys, sums = np.array(list(weights)), np.cumsum(np.array(list(weights.values()), dtype=np.float64))
    at = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
    return np.asarray(keys[np.minimum(at, len(keys) - 1)])


def _sized_bank(name: Name, requests: Sequence[tuple[np.ndarray, bool]]) -> Bank:
    """A bank with enough entries of each class: one for `_SHARED` parents, one for each parent without other children.

    Without the latter, a production such as "step" alone would repeat the few entries of its child's bank.
    """
    classes, at = np.unique(np.concatenate([wanted for wanted, _ in requests]), return_inverse=True)
    total = np.bincount(at, minlength=len(classes))
    alone, start = np.zeros(len(classes), dtype=np.int64), 0
    for wanted, single in requests:
        if single:
            counted = np.bincount(at[start : start + len(wanted)], minlength=len(classes))
            alone = np.maximum(alone, counted)
        start += len(wanted)
    amount = np.maximum.reduce([-(-total // _SHARED), alone, np.minimum(total, _SMALLEST)])
    return Bank(*name, np.repeat(classes, amount))


def _referred(
    grammar: Grammar,
    bank: Bank,
    below: Mapping[Name, Bank],
    index: int,
    rows: np.ndarray,
    wanted: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> Group:
    """A group with its children drawn: constants by value, others by entry of the bank below."""
    children = []
    for name, classes in zip(grammar.rules[bank.rule][index].children, wanted):
        if name in grammar.rules:
            children.append(_entries(below[name, bank.depth - 1], classes, rng))
        else:
            children.append(constants(grammar.constants[name], len(rows), rng))
    return Group(index, rows, tuple(children))


def _entries(bank: Bank, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random entries of the wanted classes; none twice as long as there are enough."""
    result = np.empty(len(wanted), dtype=np.int32)
    for size in np.unique(wanted):
        rows = np.flatnonzero(wanted == size)
        first, last = np.searchsorted(bank.classes, [size, size + 1])
        available = last - first
        turns = -(-len(rows) // available)
        order = np.concatenate([rng.permutation(available) for _ in range(turns)])[: len(rows)]
        result[rows] = first + order
    return result


def constants(distribution: Constant, count: int, rng: np.random.Generator) -> np.ndarray:
    """Values of a constant as derivations hold them, shape (count,): to 4 digits within the range, or of the grid."""
    if distribution.grid:
        return np.asarray(rng.choice(np.array(distribution.grid, dtype=np.float64), count))
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        values = np.exp(rng.uniform(np.log(low), np.log(high), count))
    else:
        values = rng.uniform(low, high, count)
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0, 0.0, np.floor(np.log10(np.abs(values)))).astype(np.int64) - 3
    # Powers of ten up to 22 are exact, so each result is the float that the decimal prints as.
    up, down = 10.0 ** np.clip(exponent, 0, 22), 10.0 ** np.clip(-exponent, 0, 22)
    values = np.where(exponent < -22, values, np.rint(values * down / up) * up / down)
    return np.clip(values, low, high) + 0.0  # no -0.0


def _measure(grammar: Grammar, banks: Mapping[Name, Bank], bank: Bank) -> None:
    """Fills in the sizes of a bank, once those below are known."""
    bank.sizes = np.empty(len(bank.classes), dtype=np.int64)
    for group in bank.groups:
        production = grammar.rules[bank.rule][group.index]
        total = np.full(len(group.rows), production.cost)
        for name, child in zip(production.children, group.children):
            total = total + (banks[name, bank.depth - 1].sizes[child] if name in grammar.rules else 1)
        bank.sizes[group.rows] = total
