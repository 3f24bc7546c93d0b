"""A second look at draws whose values agree on the screening grid: finer, and at conditions that nearly change.

Between grid points functions may still differ. So draws that look alike are evaluated on a finer grid, and compared by
the positions of their jumps too. One that the finer grid cannot tell is kept as a function of its own: with a condition
that nearly changes between two points, as in `max(step, bump)` where the bump tops the step in a narrow interval, or
with a function that does all it does between two points, as `sigmoid(1000*x)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sugar_search.symbolic.screening import breaks, field
from sugar_search.symbolic.screening.breaks import Breaks
from sugar_search.symbolic.screening.draws import Bank, Plan
from sugar_search.symbolic.screening.quantise import prints
from sugar_search.symbolic.tape import NUMPY, Tape

__all__ = ["DENSE_GRID", "OPS", "Programs", "confirmed", "programs"]

Programs = Mapping[tuple[str, int], tuple[tuple[str, ...], Tape]]


def _grid() -> np.ndarray:
    """Steps of 1/32.4 up to 6, then a geometric series up to 1000; both signs and 0."""
    near = np.arange(1, 195) / 32.360679774
    far = [float(near[-1])]
    while far[-1] < 1000:
        far.append(far[-1] * 1.1231719)
    positive = np.concatenate([[1e-5], near, far[1:]])
    return np.concatenate([-positive[::-1], [0.0], positive])


DENSE_GRID: np.ndarray = _grid()
_BLOCK = 128
# Functions with a region of change, about |u| < 4 wide, and how far u may move in one cell there.
_STEEP = frozenset({"exp", "sigmoid", "tanh", "softplus", "erf", "normal_cdf", "normal_pdf", "atan", "square"})
_NEAR, _FAST = 4.0, 2.0
# Places in one cell, in its width, that are not one.
_APART = 1e-6


def _sigmoid(u: Any) -> Any:
    # Three times as fast as scipy's, and as good to a rounding step: exp overflows to infinity, which gives 0.
    return 1.0 / (1.0 + np.exp(-u))


OPS: Mapping[str, Any] = {**NUMPY, "sigmoid": _sigmoid}


def programs(grammar: Any) -> Programs:
    """For each production of a grammar: the names of its children and the tape of its template."""
    found = {}
    for rule, productions in grammar.rules.items():
        for index, p in enumerate(productions):
            inputs = tuple(f"_{i}" for i in range(len(p.children)))
            found[rule, index] = (p.children, Tape.of(p.template, inputs))
    return found


def confirmed(plan: Plan, rows: np.ndarray, tapes: Programs) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of some entries of `plan.top` on `DENSE_GRID`, and whether the grid is too coarse for them.

    Args:
        plan: the draws.
        rows: which, shape (n,).
        tapes: `programs` of the plan's grammar.
    """
    marks, unsafe = np.empty(len(rows), dtype=np.uint64), np.empty(len(rows), dtype=bool)
    with np.errstate(all="ignore"):
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            found = _seen(plan, plan.top, rows[part], tapes)
            where, crowded = breaks.marks(found.breaks, found.values)
            marks[part] = field.mixed(prints(found.values)[0] ^ where)
            unsafe[part] = found.unsafe | crowded
    return marks, unsafe


@dataclass(frozen=True)
class _Seen:
    """Some functions on the dense grid.

    Attributes:
        values: shape (n, points).
        unsafe: whether the grid is too coarse, shape (n,).
        breaks: where they, or what they are made of, may jump.
    """

    values: np.ndarray
    unsafe: np.ndarray
    breaks: Breaks


def _seen(plan: Plan, bank: Bank, rows: np.ndarray, tapes: Programs) -> _Seen:
    """A bank's rows; children are evaluated anew."""
    values, unsafe = np.empty((len(rows), DENSE_GRID.size)), np.zeros(len(rows), dtype=bool)
    jumps = [breaks.NONE]
    for group in bank.groups:
        at = np.minimum(np.searchsorted(group.rows, rows), len(group.rows) - 1)
        mine = np.flatnonzero(group.rows[at] == rows)
        if not mine.size:
            continue
        names, tape = tapes[bank.rule, group.index]
        inputs = {}
        for i, (name, child) in enumerate(zip(names, group.children)):
            wanted = child[at[mine]]
            if name in plan.grammar.rules:
                below = _seen(plan, plan.banks[name, bank.depth - 1], wanted, tapes)
                inputs[f"_{i}"] = below.values
                unsafe[mine] |= below.unsafe
                jumps.append(below.breaks.moved(mine))
            else:
                inputs[f"_{i}"] = wanted[:, None]
        watch = _Watch(len(mine))
        values[mine] = watch.run(tape, inputs)
        unsafe[mine] |= watch.unsafe
        jumps += [each.moved(mine) for each in watch.breaks]
    return _Seen(values, unsafe, breaks.joined(jumps))


class _Watch:
    """Runs tapes; notes which rows do something between two points that the grid cannot tell, and where they jump."""

    def __init__(self, rows: int) -> None:
        self.unsafe = np.zeros(rows, dtype=bool)
        self.breaks: list[Breaks] = []
        self.changes: list[np.ndarray] = []

    def run(self, tape: Tape, inputs: Mapping[str, np.ndarray]) -> Any:
        """The values of a tape on `DENSE_GRID`, shape (rows, points) or one that broadcasts to it."""
        registers: list[Any] = []
        compared: dict[int, np.ndarray] = {}
        for step in tape.steps:
            given = [registers[i] for i in step.args]
            if step.op == "x":
                made: Any = DENSE_GRID[None, :]
            elif step.op == "const":
                made = np.float64(step.value or 0.0)
            elif step.op == "input":
                made = inputs[step.name]
            elif step.op == "pow":
                self.dips(given[0])
                made = np.power(given[0], step.value or 0.0)
            elif step.op in ("gt", "lt"):
                compared[len(registers)] = d = self.turns(
                    given[0] - given[1] if step.op == "gt" else given[1] - given[0]
                )
                made = d > 0
            elif step.op == "where":
                self.jumps(compared[step.args[0]], given[1], given[2])
                made = np.where(*given)
            else:
                self.look(step.op, given)
                made = OPS[step.op](*given)
            registers.append(made)
        return registers[-1]

    def look(self, op: str, given: list[Any]) -> None:
        """What the arguments of an operation say about the grid."""
        if op in ("min", "max"):
            self.turns(given[0] - given[1])
        elif op in ("abs", "sign"):
            self.turns(given[0])
            if op == "sign":
                self.jumps(given[0], 1.0, -1.0)
        elif op in ("recip", "div", "sqrt", "log1p"):
            self.dips(given[-1])
        if op in _STEEP:
            self.steep(given[0])

    def turns(self, d: Any) -> np.ndarray:
        """Marks rows in which d may change sign unseen between two points.

        That is where |d| has a minimum that curvature could carry to 0, and where a stretch of d = 0 ends: a tent that
        starts a little before the ramp that it is compared with tops it only in between. Or d changes sign twice in
        neighbouring cells, so that only one point lies between.
        """
        d = np.atleast_2d(d)
        size = np.abs(d)
        left, right = size[..., :-2], size[..., 2:]
        flat, moved = d[..., 1:-1] == 0, 1e-12 * size.max(axis=-1, keepdims=True)
        ends = flat & (((left == 0) & (right > moved)) | ((right == 0) & (left > moved)))
        self.unsafe |= (_dips(d, size) | ends).any(axis=-1)
        self.crowds(d)
        return d

    def crowds(self, d: np.ndarray) -> None:
        """Marks rows in which two comparisons of one production change at different places of one cell.

        A ramp between two bounds may rise from one to the other there, however steep.
        """
        if d.shape[-1] < DENSE_GRID.size:
            return
        left, right = d[..., :-1], d[..., 1:]
        share = np.where((left > 0) != (right > 0), left / (left - right), np.nan)
        for other in self.changes:
            self.unsafe |= (np.abs(share - other) > _APART).any(axis=-1)
        self.changes.append(share)

    def jumps(self, d: np.ndarray, u: Any, v: Any) -> None:
        """Notes where a condition d > 0 changes between u and v."""
        found, alone = breaks.crossings(DENSE_GRID, np.atleast_2d(d), u, v, len(self.unsafe))
        self.unsafe |= alone
        self.breaks.append(found)

    def dips(self, u: Any) -> None:
        """Marks rows in which a divisor comes so near to 0 between two points that its inverse may have a spike."""
        u = np.atleast_2d(u)
        self.unsafe |= _dips(u, np.abs(u)).any(axis=-1)

    def steep(self, u: Any) -> None:
        """Marks rows in which the argument of a function passes the region around 0 in one cell."""
        u = np.atleast_2d(u)
        size = np.abs(u)
        low, change = np.minimum(size[..., 1:], size[..., :-1]), np.abs(u[..., 1:] - u[..., :-1])
        passes = (change > _FAST) & ((low < _NEAR) | ((u[..., 1:] > 0) != (u[..., :-1] > 0)))
        bend = size[..., :-2] + size[..., 2:] - 2 * size[..., 1:-1]
        self.unsafe |= passes.any(axis=-1) | (_dips(u, size) & (bend > _FAST)).any(axis=-1)


def _dips(d: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where |d| is smallest among neighbours of one sign, and curvature could carry it to 0 between them."""
    left, middle, right = size[..., :-2], size[..., 1:-1], size[..., 2:]
    one_side = (d[..., :-2] > 0) == (d[..., 2:] > 0)
    bend = left + right - 2 * middle  # eight times what a parabola falls short of the middle, at most
    return np.asarray(one_side & (middle > 0) & (middle <= left) & (middle <= right) & (middle <= bend))
