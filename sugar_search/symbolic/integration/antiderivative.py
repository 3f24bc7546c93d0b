"""An activation f with f' = g and f(0) = 0, where one can be found in closed form.

Pieces between the kinks and jumps of g are integrated one by one and joined continuously. Each piece is first compared
with a linear combination of products (`integration.ansatz`), which takes milliseconds; else sympy integrates it in a
child process that is killed at the time limit. What is found is checked against g with 50 digits before it is believed.
"""

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import mpmath
import sympy
from sympy import Expr, S

from sugar_search.errors import FormulaError
from sugar_search.symbolic import functions as f
from sugar_search.symbolic.functions import X, differentiate
from sugar_search.symbolic.integration.ansatz import by_ansatz
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.primitives import number
from sugar_search.symbolic.tape import Tape
from sugar_search.symbolic.text import to_text

__all__ = ["antiderivative"]

PACKAGE = Path(__file__).resolve().parents[2]
CHILD = "sugar_search.symbolic.integration._integrate"
MAX_PIECES = 12
GRACE = 0.5  # seconds that the cheap method may take beyond those of sympy, over all pieces
MAX_TEXT = 1_000  # a longer activation tells nobody anything
MEMORY = 2 * 2**30  # bytes that the child process may use
POINTS = (-47.3, -11.7, -5.31, -2.77, -1.93, -1.19, -0.83, -0.41, -0.07, 0.013, 0.29, 0.57, 1.07, 1.71, 3.3, 6.9, 23.9)
SHARES = tuple(mpmath.mpf(k * k) / 1009 for k in (1, 2, 5, 9, 13, 17, 20, 23, 26, 29, 31))  # of a piece, from its left
_KINKED = (f.where, f.absolute, f.signum)
Piece = tuple[Expr | None, Expr | None, Expr]  # left end, right end, g between them

TOLERANCE = mpmath.mpf(10) ** -25


def antiderivative(expression: Expr, seconds: float = 5.0) -> Expr | None:
    """An f with f' = g and f(0) = 0, or None if none was found in time.

    Args:
        expression: g, in x alone.
        seconds: most time that sympy may take; the cheap methods before it take some milliseconds.
    """
    end = time.monotonic() + seconds
    found = _in_pieces(expression, end)
    if found is None:
        return None
    try:
        found = parse(to_text(found))
        return found if len(to_text(found)) <= MAX_TEXT and _is_right(found, expression) else None
    except (FormulaError, ValueError):
        return None


def _in_pieces(g: Expr, end: float) -> Expr | None:
    """The integrals of the smooth pieces of g, joined so that the whole is continuous and 0 at 0."""
    pieces = _smooth_pieces(g, None, None)
    if pieces is None or len(pieces) > MAX_PIECES:
        return None
    joined: list[tuple[Expr | None, Expr]] = []
    for low, high, plain in pieces:
        if time.monotonic() > end + GRACE:
            return None
        found = by_ansatz(plain, low, high)
        if found is None and (found := _by_sympy(plain, end - time.monotonic())) is None:
            return None
        joined.append((low, found if low is None else found - _at(found, low) + _at(joined[-1][1], low)))
    at_zero = _at(next(found for low, found in reversed(joined) if low is None or number(low) < 0), S.Zero)
    total = joined[0][1] - at_zero
    for low, found in joined[1:]:
        total = f.where(X - low, found - at_zero, total)
    return total


def _at(e: Expr, x: Expr) -> Expr:
    """e at a point; sympy's `subs` takes minutes on some nested powers."""
    return sympy.sympify(e.xreplace({X: x}))


def _smooth_pieces(g: Expr, low: Expr | None, high: Expr | None) -> list[Piece] | None:
    """g between the points where conditions and signs change, each of them decided; None if one is not linear in x."""
    atoms = [t for t in g.atoms(*_KINKED) if not any(a.has(*_KINKED) for a in t.args[:1])]
    if not atoms:
        return [(low, high, g)]
    cuts = set()
    for atom in atoms:
        linear = _linear(atom.args[0])
        if linear is None:
            return None
        at = -linear[1] / linear[0]
        if (low is None or number(low) < number(at)) and (high is None or number(at) < number(high)):
            cuts.add(at)
    edges = [low, *sorted(cuts, key=number), high]
    pieces: list[Piece] = []
    for left, right in pairwise(edges):
        point = number(_inside(left, right))
        inner = _smooth_pieces(sympy.sympify(g.xreplace({t: _decided(t, point) for t in atoms})), left, right)
        if inner is None or len(pieces) > MAX_PIECES:
            return None
        pieces += inner
    return pieces


def _linear(e: Expr) -> tuple[Expr, Expr] | None:
    """Slope and offset of an expression that is linear in x and not constant."""
    e = sympy.expand(e)
    slope = e.coeff(X, 1)
    offset = sympy.expand(e - slope * X)
    return None if slope == 0 or slope.free_symbols or offset.free_symbols else (slope, offset)


def _inside(low: Expr | None, high: Expr | None) -> Expr:
    """A point between two ends."""
    if low is None:
        return S.Zero if high is None else high - 1
    return low + 1 if high is None else (low + high) / 2


def _decided(t: Expr, point: mpmath.mpf) -> Expr:
    """What a condition, a sign or an absolute value is around a point."""
    positive = number(t.args[0], point) > 0
    if isinstance(t, f.where):
        return t.args[1] if positive else t.args[2]
    sign = S.One if positive else S.NegativeOne
    return sign if isinstance(t, f.signum) else sign * t.args[0]


def _by_sympy(g: Expr, seconds: float) -> Expr | None:
    """What `sympy.integrate` finds in a process of its own: it may run for hours."""
    if seconds <= 0:
        return None
    # -P: a sympy.py in the current folder must not be run. The package may lie where only this process looks.
    code = f"import sys; sys.path.append(sys.argv[1]); from {CHILD} import main; main(*map(int, sys.argv[2:]))"
    numbers = (MEMORY, int(seconds) + 1, os.getpid())
    command = [sys.executable, "-P", "-c", code, str(PACKAGE.parent), *map(str, numbers)]
    try:
        done = subprocess.run(command, input=to_text(g), capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    try:
        return parse(done.stdout.strip()) if done.returncode == 0 else None
    except FormulaError:
        return None


def _is_right(found: Expr, g: Expr) -> bool:
    """Whether f(0) = 0, f is finite and continuous, and f' is g in every piece: by values with 50 digits."""
    if abs(number(found, mpmath.mpf(0))) > TOLERANCE:
        return False
    slope, wanted, value = Tape.of(differentiate(found)), Tape.of(g), Tape.of(found)
    pieces = (_smooth_pieces(found, None, None) or []) + (_smooth_pieces(g, None, None) or [])
    scale = max(abs(wanted.mpmath(x)) for x in POINTS)
    for points in (POINTS, *(_points_in(low, high) for low, high, _ in pieces)):
        # Each piece against its own size: far out, everything is small beside the rest.
        size = max(abs(wanted.mpmath(x)) for x in points) or scale
        for x in points:
            gap = abs(slope.mpmath(x) - wanted.mpmath(x))
            if not (mpmath.isfinite(value.mpmath(x)) and gap <= TOLERANCE * size):
                return False
    cuts = {low for low, _, _ in pieces if low is not None}
    return all(_is_continuous(value, x) for x in [*map(number, cuts), *_poles(found, pieces)])


def _points_in(low: Expr | None, high: Expr | None) -> list[mpmath.mpf]:
    """Points inside a piece, near its finite ends and in its middle."""
    left, right = (None if end is None else number(end) for end in (low, high))
    if left is None:
        left = -16 if right is None else right - 16
    if right is None:
        right = left + 16
    return [left + (right - left) * share for share in SHARES]


def _is_continuous(f: Tape, x: mpmath.mpf) -> bool:
    with mpmath.workdps(50):
        step = mpmath.mpf(10) ** -30 * max(1, abs(x))
        around = [f.mpmath(x + way * step) for way in (-1, 0, 1)]
    return bool(max(abs(v - around[1]) for v in around) < 1e-20 * (1 + abs(around[1])))


def _poles(found: Expr, pieces: list[Piece]) -> list[mpmath.mpf]:
    """Points inside the pieces where a denominator or the argument of a logarithm of f changes its sign."""
    parts = [t.base for t in found.atoms(sympy.Pow) if t.exp.is_negative and t.free_symbols]
    parts += [1 + t.args[0] for t in found.atoms(f.log1p)]
    places = []
    for tape in {Tape.of(part) for part in parts}:
        for low, high, _ in pieces:
            whole = low is None and high is None
            grid = sorted(map(mpmath.mpf, POINTS)) if whole else _points_in(low, high)
            places += [_sign_change(tape, a, b) for a, b in pairwise(grid) if tape.mpmath(a) * tape.mpmath(b) < 0]
    return places


def _sign_change(tape: Tape, low: mpmath.mpf, high: mpmath.mpf) -> mpmath.mpf:
    """A point between `low` and `high` where the sign changes, by bisection to 45 digits."""
    left = tape.mpmath(low) > 0
    with mpmath.workdps(50):
        for _ in range(150):
            middle = (low + high) / 2
            low, high = (middle, high) if (tape.mpmath(middle) > 0) == left else (low, middle)
        return (low + high) / 2
