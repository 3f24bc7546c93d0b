"""A second look at draws whose values agree on the screening grid: finer, and at conditions that nearly change.

Between grid points one function may still differ: `max(step, bump)` where the bump tops the step in a narrow interval.
So draws that look alike are evaluated on a finer grid, and one with a condition that comes so near to changing
between two points that the grid cannot tell is kept as a function of its own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

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
            values, unsafe[part] = _values(plan, plan.top, rows[part], tapes)
            marks[part] = prints(values)[0]
    return marks, unsafe


def _values(plan: Plan, bank: Bank, rows: np.ndarray, tapes: Programs) -> tuple[np.ndarray, np.ndarray]:
    """Values of a bank's rows, shape (n, points), and which are unsafe; children are evaluated anew."""
    values, unsafe = np.empty((len(rows), DENSE_GRID.size)), np.zeros(len(rows), dtype=bool)
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
                inputs[f"_{i}"], below = _values(plan, plan.banks[name, bank.depth - 1], wanted, tapes)
                unsafe[mine] |= below
            else:
                inputs[f"_{i}"] = wanted[:, None]
        watched = _Watch(len(mine))
        values[mine] = tape.raw(DENSE_GRID[None, :], inputs, watched.ops)
        unsafe[mine] |= watched.unsafe
    return values, unsafe


class _Watch:
    """The usual operations; those that compare note which rows nearly change branch between two grid points."""

    def __init__(self, rows: int) -> None:
        self.unsafe = np.zeros(rows, dtype=bool)
        self.ops = {
            **OPS,
            "gt": lambda a, b: self.note(a - b) > 0,
            "lt": lambda a, b: self.note(b - a) > 0,
            "sign": lambda a: np.sign(self.note(a)),
            "abs": lambda a: np.abs(self.note(a)),
            "min": lambda a, b: np.where(self.note(b - a) > 0, a, b),
            "max": lambda a, b: np.where(self.note(a - b) > 0, a, b),
        }

    def note(self, d: np.ndarray) -> np.ndarray:
        """Marks rows in which d may change sign unseen between two points.

        That is where |d| has a minimum that curvature could carry to 0, and where a stretch of d = 0 ends: a tent that
        starts a little before the ramp that it is compared with tops it only in between.
        """
        size = np.abs(d)
        left, middle, right = size[..., :-2], size[..., 1:-1], size[..., 2:]
        one_side = (d[..., :-2] > 0) == (d[..., 2:] > 0)
        bend = left + right - 2 * middle  # eight times what a parabola falls short of the middle, at most
        near = one_side & (middle > 0) & (middle <= left) & (middle <= right) & (middle <= bend)
        flat, moved = d[..., 1:-1] == 0, 1e-12 * size.max(axis=-1, keepdims=True)
        ends = flat & (((left == 0) & (right > moved)) | ((right == 0) & (left > moved)))
        self.unsafe |= (near | ends).any(axis=-1)
        return d
