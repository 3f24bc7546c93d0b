"""An activation f with f' = g and f(0) = 0, where one can be found in closed form.

Pieces between the kinks and jumps of g are integrated one by one and joined continuously. Each piece is first compared
with a linear combination of products (`integration.ansatz`), which takes milliseconds; else sympy integrates it in a
child process that is killed at the time limit. What is found is checked against g with 50 digits before it is believed.
"""

import subprocess
import sys
import time
from itertools import pairwise

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

MAX_PIECES = 12
MAX_TEXT = 1_000  # a longer activation tells nobody anything
MEMORY = 2 * 2**30  # bytes that the child process may use
POINTS = (-47.3, -11.7, -5.31, -2.77, -1.93, -1.19, -0.83, -0.41, -0.07, 0.013, 0.29, 0.57, 1.07, 1.71, 3.3, 6.9, 23.9)
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
        found = by_ansatz(plain, low, high)
        if found is None and (found := _by_sympy(plain, end - time.monotonic())) is None:
            return None
        joined.append((low, found if low is None else found - found.subs(X, low) + joined[-1][1].subs(X, low)))
    at_zero = next(found for low, found in reversed(joined) if low is None or number(low) < 0).subs(X, 0)
    total = joined[0][1] - at_zero
    for low, found in joined[1:]:
        total = f.where(X - low, found - at_zero, total)
    return total


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
    command = [sys.executable, "-m", "sugar_search.symbolic.integration._integrate", str(MEMORY), str(int(seconds) + 1)]
    try:
        done = subprocess.run(command, input=to_text(g), capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    try:
        return parse(done.stdout.strip()) if done.returncode == 0 else None
    except FormulaError:
        return None


def _is_right(found: Expr, g: Expr) -> bool:
    """Whether f(0) = 0, f is finite and continuous, and f' is g: by values with 50 digits."""
    if abs(number(found, mpmath.mpf(0))) > TOLERANCE:
        return False
    slope, wanted, value = Tape.of(differentiate(found)), Tape.of(g), Tape.of(found)
    scale = max((abs(wanted.mpmath(x)) for x in POINTS), default=0)
    for x in POINTS:
        if not mpmath.isfinite(value.mpmath(x)):
            return False
        gap = abs(slope.mpmath(x) - wanted.mpmath(x))
        if not gap <= TOLERANCE * max(scale, TOLERANCE):
            return False
    step = mpmath.mpf(10) ** -30
    for low, _, _ in _smooth_pieces(found, None, None) or ():
        if low is None:
            continue
        point = number(low)
        if not abs(value.mpmath(point - step) - value.mpmath(point + step)) < 1e-20:
            return False
    return True
