"""The closest known surrogate: over all families, with fitted parameters, on both regions."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sympy

from sugar_search import catalog
from sugar_search.errors import FormulaError, InputError
from sugar_search.symbolic import family as families
from sugar_search.symbolic.family import Parameter
from sugar_search.symbolic.fingerprint import GRID, alike, distance, fine_distance, fingerprint, square_distance
from sugar_search.symbolic.functions import X, where
from sugar_search.symbolic.surrogate import REGIONS, Surrogate, surrogate
from sugar_search.symbolic.tape import Tape

__all__ = ["Nearest", "nearest"]

# Points of the first search along each parameter, for one parameter and for each of several.
_COARSE = {0: 1, 1: 41, 2: 11}
_MOST_POINTS = 500
_ZOOM = 17  # points of each step of the refinement, which narrows the bracket eightfold
_STEPS = 9
# Families that are refined, and their distance beyond which no rounded parameter can be exact.
_REFINED = 5
_CLOSE = 1e-6


@dataclass(frozen=True)
class Nearest:
    """The closest known surrogate.

    Attributes:
        surrogate: a family with its parameters; `.title` names it.
        distance: sqrt(E[(g(z) - known(z))^2]) for z ~ N(0, 1); exactly 0 if they are the same function.
    """

    surrogate: Surrogate
    distance: float


@dataclass(frozen=True)
class _Member:
    """A family on a region, ready to be evaluated for many parameters at once."""

    name: str
    region: str
    parameters: tuple[Parameter, ...]
    tape: Tape

    def values(self, points: np.ndarray) -> np.ndarray:
        """g on `GRID` for parameters of shape (n, parameters); shape (n, grid)."""
        inputs = {p.name: points[:, i, None] for i, p in enumerate(self.parameters)}
        return np.broadcast_to(self.tape.numpy(GRID, inputs), (len(points), len(GRID)))

    def distances(self, points: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Root mean square differences, shape (n,); infinite where a member is not finite."""
        difference = self.values(points) - target
        bad = ~np.isfinite(difference) & np.isfinite(target)
        result = np.sqrt(square_distance(np.where(np.isfinite(difference), difference, np.nan)))
        return np.where(bad.any(axis=1), np.inf, result)


def nearest(subject: Surrogate) -> Nearest:
    """The closest member of any family, its parameters fitted, for x everywhere or for x <= 0 alone.

    Args:
        subject: any surrogate. A family's own member is its own nearest.

    Returns:
        The member, and its distance: 0 when canonical form or `alike` say that it is the same function.
    """
    target = fingerprint(subject.tape)
    numbers = sorted({abs(float(n)) for n in subject.derivative.atoms(sympy.Number)})
    starts = sorted(
        ((*_start(member, target.values, numbers), i) for i, member in enumerate(_members())),
        key=lambda t: (t[0], t[2]),
    )
    fitted = []
    for _, point, index in starts[:_REFINED]:
        member = _members()[index]
        best = _refined(member, point, target.values)
        fitted.append((member, best))
    exact = [s for member, best in fitted for s in _exact(member, best, numbers, subject)]
    if exact:
        return Nearest(min(exact, key=lambda s: _preference(s, subject)), 0.0)
    rounded = [s for member, best in fitted if (s := _build(member, [float(f"{v:.4g}") for v in best])) is not None]
    pairs = [(distance(fingerprint(s.tape), target), i) for i, s in enumerate(rounded)]
    at, index = min(pairs)
    tape = rounded[index].tape
    if at <= _CLOSE * target.scale and not alike(tape, subject.tape):  # they differ where the grid has no point
        at = max(at, fine_distance(tape, subject.tape), np.finfo(float).tiny)
    return Nearest(rounded[index], at)


@cache
def _members() -> tuple[_Member, ...]:
    found = []
    for name in catalog.names("surrogates"):
        family = families.load(name)
        for region in REGIONS:
            template = family.template()
            template = template if region == "all" else where(X, sympy.S.One, template)
            if region == "all" or template != family.template():
                found.append(_Member(name, region, family.parameters, Tape.of(template, family.names)))
    return tuple(found)


@cache
def _coarse(member: _Member) -> np.ndarray:
    """Starting points, shape (n, parameters): evenly spaced in the logarithm, and the defaults."""
    count = _COARSE.get(len(member.parameters), 5)
    axes = [_axis(p, count) for p in member.parameters]
    points = [*itertools.islice(itertools.product(*axes), _MOST_POINTS), tuple(p.default for p in member.parameters)]
    return np.array(points, dtype=float).reshape(len(points), len(axes))


def _axis(p: Parameter, count: int) -> list[float]:
    if p.low >= 0 and p.high > 0:
        low = max(p.low, 1e-3 * min(1.0, p.high))
        inner = np.exp(np.linspace(np.log(low), np.log(p.high), count)).clip(p.low, p.high).tolist()
        return inner if p.low > 0 else [0.0, *inner]
    return list(np.linspace(p.low, p.high, count))


def _start(member: _Member, target: np.ndarray, numbers: Iterable[float]) -> tuple[float, np.ndarray]:
    """The best of the coarse points and, for one parameter, of the numbers that the formula holds."""
    points = _coarse(member)
    if len(member.parameters) == 1:
        p = member.parameters[0]
        extra = [[v] for v in numbers if p.low <= v <= p.high]
        points = np.concatenate([points, np.array(extra).reshape(-1, 1)])
    found = member.distances(points, target)
    best = int(np.argmin(found))
    return float(found[best]), points[best]


def _refined(member: _Member, start: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The start, improved along one parameter after the other by ever finer rows of points."""
    best = start.copy()
    for _ in range(1 if len(start) == 1 else 3):
        for i, p in enumerate(member.parameters):
            width = max(0.3 * abs(best[i]), 1e-3)
            for _ in range(_STEPS):
                row = np.repeat(best[None, :], _ZOOM + 1, axis=0)
                row[:-1, i] = np.linspace(best[i] - width, best[i] + width, _ZOOM).clip(p.low, p.high)
                best = row[int(np.argmin(member.distances(row, target)))]
                width /= (_ZOOM - 1) / 2
    return best


def _exact(member: _Member, best: np.ndarray, numbers: list[float], subject: Surrogate) -> Iterator[Surrogate]:
    """Members that are the same function: with the fitted values as short decimals, or with the formula's numbers."""
    target = fingerprint(subject.tape)
    options = [
        list(dict.fromkeys([*(v for v in numbers if abs(v - b) < 1e-4), *(float(f"{b:.{d}g}") for d in range(1, 8))]))
        for b in best
    ]
    rows = list(itertools.islice(itertools.product(*options), _MOST_POINTS))
    points = np.array(rows, dtype=float).reshape(len(rows), len(best))
    found = member.distances(points, target.values)
    for index in np.argsort(found, kind="stable")[:2]:
        if found[index] > _CLOSE * max(target.scale, 1e-300):
            return
        made = _build(member, points[index].tolist())
        if made is not None and (made == subject or alike(made.tape, subject.tape)):
            yield made
            return


def _preference(s: Surrogate, subject: Surrogate) -> tuple[bool, bool, int, int]:
    """Of several names of one function: the subject's own, everywhere, with default values, with few parameters."""
    defaults = {p.name: p.default for p in families.load(s.name).parameters}
    changed = sum(value != defaults[name] for name, value in s.parameters)
    return s.name != subject.name, s.region != "all", changed, len(s.parameters)


def _build(member: _Member, values: Iterable[float]) -> Surrogate | None:
    parameters: dict[str, Any] = {p.name: min(max(v, p.low), p.high) for p, v in zip(member.parameters, values)}
    try:
        return surrogate(member.name, region=member.region, **parameters)
    except (FormulaError, InputError):
        return None
