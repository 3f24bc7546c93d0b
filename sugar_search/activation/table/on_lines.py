"""Break points of conditions that compare straight lines in x, in exact arithmetic.

Only the steps that matter are walked, from the last one back: a condition within a branch that is not taken breaks
nothing. A region of the line is cut at the root of the first condition that changes its sign inside, and walked again.
"""

from collections.abc import Collection
from fractions import Fraction
from itertools import pairwise
from typing import Any

from sugar_search.activation.table.straight import Line, straight, times
from sugar_search.symbolic.tape import Tape

__all__ = ["SUSPECT", "NotOnLines", "on_lines"]

_CONDITIONS = ("gt", "lt", "abs", "sign", "min", "max")
_ROOTS = ("sqrt", "pow")
SUSPECT = frozenset((*_CONDITIONS, *_ROOTS))
_ALONE = frozenset(("sign",))  # of all that is no `where` only this may have a value of its own at a point
_POSITIVE = frozenset(("exp", "sigmoid", "softplus", "normal_cdf", "normal_pdf"))
_AT_LEAST_0 = frozenset(("square", "abs", "sqrt"))
_MOST_REGIONS = 40

_ZERO = Fraction(0)
_NOWHERE: Line = (_ZERO, _ZERO)


class NotOnLines(Exception):
    """A condition compares something that is no straight line."""


class _Split(Exception):
    """A condition changes its sign inside the region."""

    def __init__(self, root: Fraction) -> None:
        self.root = root


class _Region:
    """The open interval (low, high), None for an infinite end; or the point low = high."""

    def __init__(self, tape: Tape, low: Fraction | None, high: Fraction | None) -> None:
        self.steps, self.low, self.high = tape.steps, low, high
        self.lines: dict[int, Line | None] = {}
        self.signs: dict[int, int] = {}

    def line(self, i: int) -> Line | None:
        """The straight line that a step is here; None if it is none. Notes the signs of the conditions on the way."""
        if i not in self.lines:
            self.lines[i] = self._line(i)
        return self.lines[i]

    def _line(self, i: int) -> Line | None:
        step = self.steps[i]
        op, args = step.op, step.args
        if op == "x":
            return Fraction(1), _ZERO
        if op == "const":
            return _ZERO, _exact(step.exact, step.value)
        if op == "where":
            return self.line(args[1] if self.sign(args[0]) > 0 else args[2])
        lines = [self.line(a) for a in args]
        if op == "abs" and _at_least_0(self.steps, args[0]):
            return lines[0]
        if op in _CONDITIONS:
            sign = self.sign(i)
            if op in ("min", "max"):
                return lines[0 if (sign > 0) == (op == "max") else 1]
            return (_ZERO, Fraction(sign)) if op == "sign" else times(lines[0], Fraction(1 if sign > 0 else -1))
        if op in _ROOTS and not _positive(self.steps, args[0]):
            self.signs[i] = self._sign(lines[0])
        return straight(op, lines)

    def sign(self, i: int) -> int:
        """The sign (1, 0, -1) of what a condition compares; constant in a region."""
        if i not in self.signs:
            step = self.steps[i]
            a = self.line(step.args[0])
            b = self.line(step.args[1]) if len(step.args) > 1 else _NOWHERE
            if step.op == "lt":
                a, b = b, a
            if a is None or b is None:
                raise NotOnLines
            self.signs[i] = self._sign((a[0] - b[0], a[1] - b[1]))
        return self.signs[i]

    def choices(self, ops: Collection[str] = SUSPECT) -> set[tuple[int, int]]:
        """What g depends on here: the branches taken and the signs of other conditions. If they stay, g is smooth.

        Args:
            ops: the conditions that count; a `where` always does.
        """
        found = set()
        waiting, seen = [len(self.steps) - 1], set()
        while waiting:
            i = waiting.pop()
            if i in seen:
                continue
            seen.add(i)
            step = self.steps[i]
            if step.op == "where":
                taken = step.args[1] if self.signs[step.args[0]] > 0 else step.args[2]
                found.add((i, taken))
                waiting.append(taken)
                continue
            if step.op in ops and i in self.signs:
                found.add((i, self.signs[i]))
            waiting += step.args
        return found

    def _sign(self, line: Line | None) -> int:
        if line is None:
            raise NotOnLines
        slope, offset = line
        if self.low is not None and self.low == self.high:
            return _sign_of(slope * self.low + offset)
        if slope == 0:
            return _sign_of(offset)
        root = -offset / slope
        if (self.low is None or root > self.low) and (self.high is None or root < self.high):
            raise _Split(root)
        right = self.low is not None and root <= self.low
        return _sign_of(slope) if right else -_sign_of(slope)


def on_lines(tape: Tape) -> list[tuple[Fraction, dict[int, int]]]:
    """The points where g or g' may jump, ascending, with the signs of the conditions there, by step.

    Raises:
        NotOnLines: a condition that matters compares something else.
    """
    last = len(tape.steps) - 1
    done: list[_Region] = []
    waiting = [_Region(tape, None, None)]
    while waiting:
        region = waiting.pop()
        try:
            region.line(last)
        except _Split as split:
            if len(done) + len(waiting) > _MOST_REGIONS:
                raise NotOnLines from None
            waiting += [_Region(tape, split.root, region.high), _Region(tape, region.low, split.root)]
        else:
            done.append(region)
    found = []
    for left, right in pairwise(done):
        assert left.high is not None
        point = _Region(tape, left.high, left.high)
        point.line(last)
        if left.choices() != right.choices() or left.choices(_ALONE) != point.choices(_ALONE):
            found.append((left.high, point.signs))
    return found


def _sign_of(value: Fraction) -> int:
    return (value > 0) - (value < 0)


def _exact(exact: Any, value: float | None) -> Fraction:
    if exact is not None and exact.is_Rational:
        return Fraction(int(exact.p), int(exact.q))
    return Fraction(value or 0.0)


def _positive(steps: tuple[Any, ...], i: int) -> bool:
    """Whether the form of a step alone says that it is over 0 for every x."""
    step = steps[i]
    if step.op == "const":
        return bool(step.value > 0)
    if step.op == "add":
        a, b = step.args
        return (_positive(steps, a) and _at_least_0(steps, b)) or (_positive(steps, b) and _at_least_0(steps, a))
    if step.op in ("mul", "div", "sqrt", "pow", "recip", "square"):
        return all(_positive(steps, a) for a in step.args)
    return step.op in _POSITIVE


def _at_least_0(steps: tuple[Any, ...], i: int) -> bool:
    """Whether the form of a step alone says that it is never under 0."""
    step = steps[i]
    if step.op == "const":
        return bool(step.value >= 0)
    if step.op in _AT_LEAST_0 or (step.op == "mul" and step.args[0] == step.args[1]):
        return True
    if step.op in ("add", "mul", "div", "pow", "recip", "max"):
        return all(_at_least_0(steps, a) for a in step.args)
    return _positive(steps, i)
