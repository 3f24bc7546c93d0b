"""The fingerprint of a function: its values on a fixed grid, correct to rounding, and where it jumps.

Values come from ball arithmetic (python-flint) and are rounded once to float64. So they depend neither on the spelling
of the function nor on libm or the machine: cancellation or overflow in a formula only raises the working precision.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import erfc, sqrt
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from sugar_search.symbolic.points import condition_changes, values_at
from sugar_search.symbolic.second_look import both, differ
from sugar_search.symbolic.tape import Tape

__all__ = [
    "GRID",
    "TOLERANCE",
    "Fingerprint",
    "Jump",
    "Known",
    "alike",
    "distance",
    "fine_distance",
    "fingerprint",
    "same",
    "square_distance",
]

# Two functions are the same when they differ by at most this, relative to the largest |g|, at every grid point.
TOLERANCE = 1e-9
# Smaller steps, relative to the largest |g|, count as continuous.
_JUMP = 1e-6
# One-sided limits are read a rounding step beside the jump, so steep functions differ a little there.
_SIDE = 1e-6
_REACH = 1000.0


def _grid() -> np.ndarray:
    """0, tiny points, steps of 1/16.18 up to 4, wider ones up to 12, then a geometric series up to 1000; both signs.

    The points are no short decimals, so that a break written in a formula does not fall on one by chance. They end at
    1000, which inputs of an activation rarely pass, and where exp(x) still needs only 1,500 bits to cancel exactly.
    """
    tiny = [1e-6, 1e-4, 1.037e-3, 0.0051937, 0.0131071, 0.0301313]
    near = [k / 16.180339887 for k in range(1, 66)]
    wide = [near[-1] + k * 0.2871317 for k in range(1, 28)]
    ratio = 1.3831719
    far = [wide[-1] * ratio**k for k in range(1, 14)]
    positive = np.array([*tiny, *near, *wide, *far, _REACH])
    return np.concatenate([-positive[::-1], [0.0], positive])


GRID: np.ndarray = _grid()
GRID.flags.writeable = False


Label = TypeVar("Label")


class _Subject(Protocol):
    """A surrogate, or whatever has its canonical form and its tape."""

    @property
    def canonical(self) -> str: ...

    @property
    def tape(self) -> Tape: ...


@dataclass(frozen=True)
class Jump:
    """A discontinuity of g, with its one-sided limits.

    Attributes:
        at: position, to about 1e-15.
        left: g just below it.
        right: g just above it.
    """

    at: float
    left: float
    right: float


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What a function does, whatever its spelling; compare with `same` and `distance`.

    Attributes:
        values: g on `GRID`, shape (225,), float64; nan where g is not finite, or not resolved at 2048 bits.
        jumps: by position.
    """

    values: np.ndarray
    jumps: tuple[Jump, ...]

    @cached_property
    def scale(self) -> float:
        """Largest |g| on the grid; 0 if nothing is finite."""
        finite = self.values[np.isfinite(self.values)]
        return float(np.abs(finite).max(initial=0.0))

    def to_bytes(self) -> bytes:
        """Values and jumps as bytes, the same on every machine."""
        jumps = [v for j in self.jumps for v in (j.at, j.left, j.right)]
        return self.values.astype("<f8").tobytes() + np.array(jumps, dtype="<f8").tobytes()


@lru_cache(maxsize=2048)
def fingerprint(tape: Tape) -> Fingerprint:
    """The fingerprint of a finished tape (no inputs)."""
    values, truths = values_at(tape, GRID)
    values = _finite(values)
    values.flags.writeable = False
    scale = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    brackets = _merged(condition_changes(tape, GRID, truths))
    if not brackets:
        return Fingerprint(values, ())
    sides, _ = values_at(tape, np.array(brackets).ravel())
    found = []
    for (low, high), (left, right) in zip(brackets, _finite(sides).reshape(-1, 2)):
        if not abs(right - left) <= _JUMP * scale:
            # The middle of a bracket around 0 would be noise.
            at = 0.0 if low <= 0 <= high else (low + high) / 2
            found.append(Jump(at, float(left), float(right)))
    return Fingerprint(values, tuple(found))


def _finite(values: np.ndarray) -> np.ndarray:
    """nan in place of what float64 cannot hold, so that no comparison subtracts infinities."""
    return np.where(np.isfinite(values), values, np.nan)


def _merged(brackets: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Brackets so close that they mean one point (as in sign(x), which changes on either side of 0) become one."""
    merged: list[tuple[float, float]] = []
    for low, high in sorted(brackets):
        if merged and low - merged[-1][1] <= 1e-12 * max(1.0, abs(low)):
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def same(a: Fingerprint, b: Fingerprint) -> bool:
    """Whether two fingerprints mean one function.

    Values may differ by `TOLERANCE` times the largest |g| at each point, jumps by 1e-9 in position. A point that only
    one of the two spellings resolves is not compared; a quarter of the grid may be like that.
    """
    scale = max(a.scale, b.scale)
    if not _same_values(a.values, b.values, scale) or len(a.jumps) != len(b.jumps):
        return False
    for one, two in zip(a.jumps, b.jumps):
        if abs(one.at - two.at) > TOLERANCE * max(1.0, abs(one.at)):
            return False
        if max(abs(one.left - two.left), abs(one.right - two.right)) > _SIDE * scale:
            return False
    return True


def _same_values(a: np.ndarray, b: np.ndarray, scale: float) -> bool:
    missing = np.isnan(a) | np.isnan(b)
    if np.count_nonzero(missing & ~(np.isnan(a) & np.isnan(b))) > len(GRID) // 4:
        return False
    return bool((missing | (np.abs(a - b) <= TOLERANCE * scale)).all())


def alike(a: Tape, b: Tape) -> bool:
    """Whether two finished tapes are the same function: equal fingerprints, and a second look between their points.

    Takes up to 10 ms where the fingerprints agree; see `second_look.differ` for what could still escape.
    """
    if a == b:
        return True
    one, two = fingerprint(a), fingerprint(b)
    jumps = (jump.at for jump in (*one.jumps, *two.jumps))
    return same(one, two) and not differ(a, b, max(one.scale, two.scale), TOLERANCE, jumps)


def _normal_mass(edges: np.ndarray) -> np.ndarray:
    """Probability of each cell between sorted edges under a standard normal; the outer tails are left out."""
    upper = np.array([erfc(abs(x) / sqrt(2)) / 2 for x in edges])
    # From the nearer tail, so that cells far out keep their digits.
    cdf = np.where(edges < 0, upper, 1 - upper)
    mass = np.where(edges[:-1] >= 0, upper[:-1] - upper[1:], cdf[1:] - cdf[:-1])
    return np.asarray(mass)


_MASS = _normal_mass(GRID)


def distance(a: Fingerprint, b: Fingerprint) -> float:
    """sqrt(E[(a(z) - b(z))^2]) for a standard normal pre-activation z.

    Both are taken as straight between grid points, and broken at their jumps. Good to about 1e-3 of itself for smooth
    functions. Points where either is not known are left out.
    """
    at = np.unique([jump.at for jump in (*a.jumps, *b.jumps)])
    if not at.size:
        return float(np.sqrt(square_distance(a.values - b.values)))
    nodes = np.union1d(GRID, at)
    left = _side(a, nodes, "left") - _side(b, nodes, "left")
    right = _side(a, nodes, "right") - _side(b, nodes, "right")
    cells = right[:-1] ** 2 + right[:-1] * left[1:] + left[1:] ** 2
    return float(np.sqrt(max(0.0, np.nansum(cells * _normal_mass(nodes)) / 3)))


def fine_distance(a: Tape, b: Tape) -> float:
    """The same for tapes that hardly differ, on the points of the second look; 0 only if they agree at all of them."""
    x, one, two = both(a, b)
    squares = np.where(np.isfinite(one) & np.isfinite(two), one - two, 0.0) ** 2
    return float(np.sqrt(np.sum((squares[1:] + squares[:-1]) / 2 * _normal_mass(x))))


def square_distance(difference: np.ndarray) -> Any:
    """E[d(z)^2] of differences on `GRID`, shape (..., 225), without jumps."""
    low, high = difference[..., :-1], difference[..., 1:]
    return np.maximum(0.0, np.nansum((low * low + low * high + high * high) * _MASS, axis=-1) / 3)


def _side(f: Fingerprint, nodes: np.ndarray, side: str) -> np.ndarray:
    """One-sided limits at sorted nodes, interpolated between the grid and the function's own jumps."""
    keep = np.isfinite(f.values)
    # A jump at a grid point (x = 0) replaces the value there, which one of the two sides does not have.
    for jump in f.jumps:
        keep &= np.abs(GRID - jump.at) > 1e-12 * max(1.0, abs(jump.at))
    at = np.repeat([jump.at for jump in f.jumps], 2)
    limits = np.array([v for jump in f.jumps for v in (jump.left, jump.right)])
    at[0::2], at[1::2] = np.nextafter(at[0::2], -np.inf), np.nextafter(at[1::2], np.inf)
    order = np.argsort(np.concatenate([GRID[keep], at]), kind="stable")
    x, y = np.concatenate([GRID[keep], at])[order], np.concatenate([f.values[keep], limits])[order]
    return np.interp(np.nextafter(nodes, -np.inf if side == "left" else np.inf), x, y)


# Points that every spelling resolves; a fixed weighted mean of the values there sorts the entries.
_CORE = np.abs(GRID) <= 4.0
_WEIGHTS = (1.0 + 0.5 * np.modf(np.arange(1, np.count_nonzero(_CORE) + 1) * 0.6180339887)[0]) / GRID.size


@dataclass(eq=False)
class Known(Generic[Label]):
    """The functions met so far: equality of canonical form, or `alike`, finds them again.

    Looking up a fingerprint is a binary search over a weighted mean of the values, then a comparison with the few
    entries whose mean is as near as their values would have to be. It does not grow with the number of entries.
    """

    _by_canonical: dict[str, Label] = field(default_factory=dict)
    _keys: list[float] = field(default_factory=list)
    _entries: list[tuple[Fingerprint, Tape, Label]] = field(default_factory=list)
    # Entries with a core point that is not resolved have no mean and are compared one by one.
    _odd: list[tuple[Fingerprint, Tape, Label]] = field(default_factory=list)

    def add(self, surrogate: _Subject, label: Label) -> None:
        """Remembers a surrogate; the first label of a function stays."""
        known = self.find(surrogate)
        if known is None:
            self._insert(fingerprint(surrogate.tape), surrogate.tape, label)
        self._by_canonical.setdefault(surrogate.canonical, label if known is None else known)

    def _insert(self, found: Fingerprint, tape: Tape, label: Label) -> None:
        key = _mean(found)
        if key is None:
            self._odd.append((found, tape, label))
            return
        at = bisect_left(self._keys, key)
        self._keys.insert(at, key)
        self._entries.insert(at, (found, tape, label))

    def find(self, surrogate: _Subject) -> Label | None:
        """The label of the same function, or None."""
        if surrogate.canonical in self._by_canonical:
            return self._by_canonical[surrogate.canonical]
        return self._find_tape(surrogate.tape)

    def _find_tape(self, tape: Tape) -> Label | None:
        return next((label for other, label in self.like(fingerprint(tape)) if alike(other, tape)), None)

    def like(self, wanted: Fingerprint) -> Iterator[tuple[Tape, Label]]:
        """Those with this fingerprint: tape and label."""
        key = _mean(wanted)
        near = self._odd if key is not None else [*self._odd, *self._entries]
        if key is not None:
            # The largest |g| of the two may differ by the tolerance itself, hence the 2.
            reach = 2 * TOLERANCE * wanted.scale * float(_WEIGHTS.sum())
            near = [*near, *self._entries[bisect_left(self._keys, key - reach) : bisect_right(self._keys, key + reach)]]
        return ((tape, label) for known, tape, label in near if same(known, wanted))


def _mean(f: Fingerprint) -> float | None:
    core = f.values[_CORE]
    return None if np.isnan(core).any() else float(_WEIGHTS @ core)
