"""Screening: many surrogates of a grammar at once, bottom up, without sympy.

Subexpressions come from banks (see `draws`), so a shared one is evaluated once, on a grid and as a structural key. A
surrogate is then composed from them in blocks that stay in the cache, checked for finite and bounded values, and
compared with all others: equal keys, or equal values after quantising, make it a duplicate.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from sugar_search.symbolic.fingerprint import GRID
from sugar_search.symbolic.grammar.derivation import Derivation
from sugar_search.symbolic.grammar.grammar import Grammar
from sugar_search.symbolic.screening import field as keys
from sugar_search.symbolic.screening.confirm import OPS, Programs, confirmed, programs
from sugar_search.symbolic.screening.draws import Bank, Group, Name, Plan, draw
from sugar_search.symbolic.screening.quantise import WIDTH, hashed, sums

__all__ = ["SCREEN_GRID", "Screening", "screen"]

# Where surrogates are compared: every step of 1/16 up to 2.6, fewer points beyond. Of a straight piece 1/8 wide there
# (a ramp or tent of slope 8) at least two points are seen; narrower features may be taken for one another.
_NEAR = (np.abs(GRID) <= 2.6) & ((np.abs(GRID) > 0.04) | np.isin(np.abs(GRID), [0.0, 1e-6, 0.0131071]))
_FAR = (np.abs(GRID) > 2.6) & (np.arange(GRID.size) % 3 == GRID.size // 2 % 3)
SCREEN_GRID: np.ndarray = GRID[_NEAR | _FAR]

_CHUNK = 65_536  # surrogates that share one set of banks
_BLOCK = 64  # rows evaluated at once: a register of 64 rows stays in the second-level cache
_KEYS = 4096  # keys evaluated at once

SURVIVOR, INVALID, TOO_LARGE, SAME_KEY, SAME_VALUES = range(5)


@dataclass(frozen=True, eq=False)
class Screening:
    """What became of each surrogate drawn.

    Attributes:
        grammar: where they come from.
        seeds: of the chunks; a chunk is drawn again when a derivation is asked for.
        verdicts: for each draw SURVIVOR, INVALID, TOO_LARGE, SAME_KEY or SAME_VALUES, shape (n,).
        first: for each draw the first one that is the same function, itself if it is the first or no function.
        seconds: time by phase: "draw", "banks", "values", "keys", "duplicates", "confirm".
    """

    grammar: Grammar
    seeds: tuple[int, ...]
    verdicts: np.ndarray
    first: np.ndarray
    seconds: Mapping[str, float]

    def counts(self) -> dict[str, int]:
        """How many were generated, and of those: invalid, duplicate by key, by fingerprint, survivors.

        "generated" leaves out those beyond the grammar's max_size, which `sample` would draw again ("too_large").
        """
        n = np.bincount(self.verdicts, minlength=5)
        return {
            "generated": len(self.verdicts) - int(n[TOO_LARGE]),
            "too_large": int(n[TOO_LARGE]),
            "invalid": int(n[INVALID]),
            "duplicate_key": int(n[SAME_KEY]),
            "duplicate_fingerprint": int(n[SAME_VALUES]),
            "survivors": int(n[SURVIVOR]),
        }

    @property
    def survivors(self) -> np.ndarray:
        """Numbers of the draws that are new functions, in order."""
        return np.flatnonzero(self.verdicts == SURVIVOR)

    def merged(self) -> Iterator[tuple[int, int]]:
        """Each duplicate with the draw it was taken for."""
        for i in np.flatnonzero(self.first != np.arange(len(self.first))):
            yield int(i), int(self.first[i])

    def derivation(self, draw_number: int) -> Derivation:
        """One of the draws as a derivation; for many, `derivations` is faster."""
        return self.derivations([draw_number])[int(draw_number)]

    def derivations(self, draws: Iterable[int]) -> dict[int, Derivation]:
        """Draws as derivations, by their number."""
        found = {}
        for number in sorted({int(d) for d in draws}):
            chunk, row = divmod(number, _CHUNK)
            size = min(_CHUNK, len(self.verdicts) - chunk * _CHUNK)
            found[number] = _plan(self.grammar, size, self.seeds[chunk]).derivation(row)
        return found


@lru_cache(maxsize=16)
def _plan(grammar: Grammar, count: int, seed: int) -> Plan:
    return draw(grammar, count, np.random.default_rng(seed))


def screen(grammar: Grammar, count: int, rng: np.random.Generator, max_abs: float = 1000.0) -> Screening:
    """Draws and screens surrogates.

    Args:
        grammar: without faults.
        count: how many draws.
        rng: where the randomness comes from.
        max_abs: largest |g| on the grid.

    Returns:
        What became of each. Survivors are finite, bounded and distinct on the grid; whether they are bounded everywhere
        is for a certificate to say.
    """
    seconds = dict.fromkeys(("draw", "banks", "values", "keys", "duplicates", "confirm"), 0.0)
    seeds = tuple(int(s) for s in rng.integers(0, 2**63, -(-count // _CHUNK)))
    structural, values = np.empty(count, dtype=np.uint64), np.empty(count, dtype=np.uint64)
    verdicts = np.full(count, SURVIVOR, dtype=np.uint8)
    tapes = programs(grammar)
    space: dict[Name, np.ndarray] = {}
    for chunk, seed in enumerate(seeds):
        part = slice(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK))
        clock = _Clock(seconds)
        plan = _plan(grammar, part.stop - part.start, seed)
        clock.lap("draw")
        with np.errstate(all="ignore"):
            stock = _Stock(plan, tapes, space)
            clock.lap("banks")
            values[part], valid = stock.prints(max_abs)
            clock.lap("values")
            structural[part] = stock.keys_of(plan.top)
            clock.lap("keys")
        verdicts[part][~valid] = INVALID
        verdicts[part][plan.top.sizes > grammar.max_size] = TOO_LARGE
    clock = _Clock(seconds)
    first = np.arange(count)
    _join(verdicts, first, structural, SAME_KEY)
    clock.lap("duplicates")
    alike = _alike(verdicts, values)
    values[alike] = _dense(grammar, count, seeds, alike, tapes)
    clock.lap("confirm")
    # Draws without a like keep their coarse hash, which meets none of the dense ones but by a chance of 2**-64.
    _join(verdicts, first, values, SAME_VALUES)
    # A duplicate by key follows its leader, which may be a duplicate by values.
    first = first[first]
    clock.lap("duplicates")
    return Screening(grammar, seeds, verdicts, first, seconds)


def _join(verdicts: np.ndarray, first: np.ndarray, marks: np.ndarray, verdict: int) -> None:
    """Gives survivors with equal marks the verdict, except the first of them, which `first` then names."""
    kept = np.flatnonzero(verdicts == SURVIVOR)
    _, at, back = np.unique(marks[kept], return_index=True, return_inverse=True)
    leaders = kept[at][back]
    first[kept] = leaders
    verdicts[kept[leaders != kept]] = verdict


def _alike(verdicts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Survivors whose hash is not their own alone."""
    kept = np.flatnonzero(verdicts == SURVIVOR)
    _, back, times = np.unique(values[kept], return_inverse=True, return_counts=True)
    return np.asarray(kept[times[back] > 1])


def _dense(grammar: Grammar, count: int, seeds: tuple[int, ...], draws: np.ndarray, tapes: Programs) -> np.ndarray:
    """Hashes of some draws on the dense grid; those it cannot tell get one that nothing else has."""
    found = np.empty(len(draws), dtype=np.uint64)
    for chunk in np.unique(draws // _CHUNK):
        mine = np.flatnonzero(draws // _CHUNK == chunk)
        plan = _plan(grammar, min(_CHUNK, count - int(chunk) * _CHUNK), seeds[chunk])
        marks, unsafe = confirmed(plan, draws[mine] - chunk * _CHUNK, tapes)
        found[mine] = np.where(unsafe, keys.mixed(draws[mine].astype(np.uint64)), marks)
    return found


class _Clock:
    """Adds the time since the last lap to a phase."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.began = seconds, time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] += now - self.began
        self.began = now


@dataclass
class _Stock:
    """Values and keys of the banks of a plan; those of `top` are made block by block and not kept.

    `space` holds the memory of one plan's banks for the next: fresh memory costs as much as the values in it.
    """

    plan: Plan
    tapes: Programs
    space: dict[Name, np.ndarray] = field(default_factory=dict)
    values: dict[Name, np.ndarray] = field(default_factory=dict)
    keys: dict[Name, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in sorted(self.plan.banks, key=lambda n: n[1]):
            bank = self.plan.banks[name]
            if bank is self.plan.top:
                continue
            count = len(bank.classes)
            if len(self.space.get(name, ())) < count:
                self.space[name] = np.empty((count + count // 8, SCREEN_GRID.size))
            values = self.space[name][:count]
            for rows, block in self.blocks(bank):
                values[rows] = block
            self.values[name] = values
            self.keys[name] = self.residues(bank)

    def blocks(self, bank: Bank) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of a bank with their values on `SCREEN_GRID`, shape (rows, grid) or (1, grid)."""
        x = SCREEN_GRID[None, :]
        for group in bank.groups:
            names, tape = self.tapes[bank.rule, group.index]
            for start in range(0, len(group.rows), _BLOCK):
                part = slice(start, start + _BLOCK)
                inputs = {
                    f"_{i}": self.values[name, bank.depth - 1][child[part]]
                    if name in self.plan.grammar.rules
                    else child[part, None]
                    for i, (name, child) in enumerate(zip(names, group.children))
                }
                rows, block = group.rows[part], np.asarray(tape.raw(x, inputs, OPS))
                yield rows, np.broadcast_to(block, (len(rows), SCREEN_GRID.size))

    def prints(self, max_abs: float) -> tuple[np.ndarray, np.ndarray]:
        """A hash of the quantised values of each draw, and whether they are finite, bounded and not all 0."""
        top = self.plan.top
        found, sizes = np.empty((len(top.classes), WIDTH)), np.empty(len(top.classes))
        for rows, block in self.blocks(top):
            found[rows], sizes[rows] = sums(block)
        return hashed(found), (sizes <= max_abs) & (sizes > 0)

    def keys_of(self, bank: Bank) -> np.ndarray:
        """Structural keys in one uint64 each."""
        return keys.joined(self.residues(bank))

    def residues(self, bank: Bank) -> np.ndarray:
        """Structural keys, shape (2, n)."""
        found = np.empty((2, len(bank.classes)), dtype=np.uint64)
        for group in bank.groups:
            for start in range(0, len(group.rows), _KEYS):
                part = slice(start, start + _KEYS)
                found[:, group.rows[part]] = self._residues(bank, group, part)
        return found

    def _residues(self, bank: Bank, group: Group, part: slice) -> np.ndarray:
        names, tape = self.tapes[bank.rule, group.index]
        inputs = {
            f"_{i}": self.keys[name, bank.depth - 1][:, child[part]]
            if name in self.plan.grammar.rules
            else keys.residues(child[part])
            for i, (name, child) in enumerate(zip(names, group.children))
        }
        return keys.run(tape, inputs)
