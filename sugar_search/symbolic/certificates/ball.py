"""Tapes in ball arithmetic: rigorous enclosures of g on balls, whatever its conditions.

A condition (gt, lt, abs, sign, min, max) that a ball does not decide gives the hull of both branches. Once the signs of
all conditions are known on a piece of the line, `specialise` leaves a smooth straight line of steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any

import sympy
from flint import arb

from sugar_search.symbolic.certificates.constants import constant
from sugar_search.symbolic.certificates.exact import exact_step
from sugar_search.symbolic.certificates.order import coefficient
from sugar_search.symbolic.certificates.ranges import Range, constant_range, range_of
from sugar_search.symbolic.certificates.smooth import CONDITIONS, Smooth, value_function
from sugar_search.symbolic.steps import Step
from sugar_search.symbolic.tape import Tape

__all__ = ["Program"]


def _difference(step: Step) -> tuple[int, int | None]:
    """The registers whose difference decides a condition; `lt` is turned round, abs and sign compare with 0."""
    if step.op == "lt":
        return step.args[1], step.args[0]
    return step.args[0], (step.args[1] if len(step.args) > 1 else None)


@dataclass(frozen=True)
class Program:
    """A tape made ready for ball arithmetic in the precision of its construction."""

    tape: Tape
    nonnegative: tuple[bool, ...] = field(init=False)
    most: float = field(init=False)  # |g| is at most this wherever it is defined; may be infinite

    def __post_init__(self) -> None:
        known: list[Range] = []
        for step in self.tape.steps:
            if step.op == "const":
                known.append(constant_range(step.exact, constant(step.exact)))
            else:
                known.append(range_of(step, known, self.tape.steps) if step.args else (-inf, inf))
        object.__setattr__(self, "nonnegative", tuple(low >= 0 for low, _ in known))
        object.__setattr__(self, "most", max(-known[-1][0], known[-1][1]))

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the tape."""
        return self.tape.steps

    @cached_property
    def _code(self) -> list[tuple[Callable[..., Any] | None, tuple[int, ...], Any]]:
        return [
            (value_function(step.op, step.args, step.exact, self.nonnegative), step.args, _payload(step))
            for step in self.steps
        ]

    def registers(self, x: arb) -> list[Any]:
        """The enclosure of every step on a ball; conditions are True, False or None."""
        out: list[Any] = []
        for function, args, payload in self._code:
            if function is None:
                out.append(x if payload is None else payload)
            elif len(args) == 1:
                out.append(function(out[args[0]]))
            elif len(args) == 2:
                out.append(function(out[args[0]], out[args[1]]))
            else:
                out.append(function(out[args[0]], out[args[1]], out[args[2]]))
        return out

    def value(self, x: arb) -> arb:
        """The enclosure of g on a ball; not finite where g may not be defined."""
        return self.registers(x)[-1]

    def specialise(self, signs: Mapping[int, int], roots: tuple[int, int | None] | None = None) -> "Smooth":
        """What is left when the conditions (by their step) have these signs (1, 0 or -1).

        With two `roots` the result is their difference.
        """
        code: list[tuple[str, tuple[int, ...], Any]] = []
        done: dict[int, int] = {}
        known: dict[Any, int] = {}
        waiting: list[int] = []
        nonnegative: list[bool] = []

        def emit(op: str, args: tuple[int, ...], payload: Any, positive: bool) -> int:
            op, args, payload = _folded(op, args, payload, code)
            if op == "same":
                return args[0]
            key = (op, args, str(payload)) if payload is not None else (op, args)
            if key not in known:
                known[key] = len(code)
                code.append((op, args, payload))
                nonnegative.append(positive)
            return known[key]

        def build(i: int) -> int:
            if i not in done:
                done[i] = make(i)
            return done[i]

        def make(i: int) -> int:
            step = self.steps[i]
            sign = signs.get(step.args[0] if step.op == "where" else i)
            if step.op == "where" and sign is not None:
                return build(step.args[1] if sign > 0 else step.args[2])
            if step.op in ("min", "max") and sign is not None:
                return build(step.args[0] if (sign > 0) == (step.op == "max") else step.args[1])
            if step.op == "abs" and self.nonnegative[step.args[0]]:
                return build(step.args[0])
            if step.op == "abs" and (sign or 0) > 0:
                return emit("copy", (build(step.args[0]),), None, True)
            if step.op == "abs" and sign is not None:
                return emit("neg", (build(step.args[0]),), None, True)
            if step.op == "sign" and sign is not None:
                return emit("const", (), sympy.Integer(sign), sign >= 0)
            args = tuple(build(a) for a in step.args)
            if step.op in CONDITIONS:
                waiting.append(i)
            return emit(step.op, args, step.exact, self.nonnegative[i])

        if roots is None:
            last = build(len(self.steps) - 1)
        elif roots[1] is None:
            last = build(roots[0])
        elif (ends := (build(roots[0]), build(roots[1])))[0] != ends[1]:
            last = emit("sub", ends, None, False)
        else:
            last = emit("const", (), sympy.S.Zero, True)
        if last != len(code) - 1:
            last = emit("copy", (last,), None, nonnegative[last])
        return Smooth(tuple(code), tuple(nonnegative), tuple(sorted(waiting)))

    def difference(self, condition: int, signs: Mapping[int, int]) -> "Smooth":
        """The function whose sign decides a condition."""
        return self.specialise(signs, _difference(self.steps[condition]))


def _folded(op: str, args: tuple[int, ...], payload: Any, code: list[Any]) -> tuple[str, tuple[int, ...], Any]:
    """Constants, and sums and products with 0 and 1, that known signs leave behind; "same" is one of the arguments.

    0*u is 0 only where u is defined, so it stays unless u cannot fail.
    """
    if op not in ("add", "sub", "mul"):
        value = _rational_value(op, args, payload, code)
        return (op, args, payload) if value is None else ("const", (), value)
    values = [code[a][2] if code[a][0] == "const" and code[a][2].is_Rational else None for a in args]
    u, v = values
    if u is not None and v is not None:
        return "const", (), u + v if op == "add" else u - v if op == "sub" else u * v
    if op == "sub" and args[0] == args[1] and _cannot_fail(code, args[0]):
        return "const", (), sympy.S.Zero
    if op == "mul":
        for value, other in ((u, args[1]), (v, args[0])):
            if value == 1:
                return "same", (other,), None
            if value == 0 and _cannot_fail(code, other):
                return "const", (), sympy.S.Zero
    elif v == 0:
        return "same", (args[0],), None
    elif u == 0:
        return ("same", (args[1],), None) if op == "add" else ("neg", (args[1],), None)
    return op, args, payload


def _rational_value(op: str, args: tuple[int, ...], payload: Any, code: list[Any]) -> sympy.Rational | None:
    """The value of a step on rational constants where that is rational: sqrt(0), square(1/2), abs(-1)."""
    if not args or op in ("copy", "where", "gt", "lt") or any(code[a][0] != "const" for a in args):
        return None
    numbers = [code[a][2] for a in args]
    if not all(n.is_Rational for n in numbers):
        return None
    if op in _OF_NUMBERS:
        return sympy.Rational(_OF_NUMBERS[op](*numbers))
    value = exact_step(op, [coefficient(n) for n in numbers], payload).rational
    return None if value is None else sympy.Rational(int(value.p), int(value.q))


_OF_NUMBERS: dict[str, Callable[..., Any]] = {"abs": abs, "sign": sympy.sign, "min": min, "max": max}


def _cannot_fail(code: list[Any], i: int) -> bool:
    """Whether a step is defined for every x."""
    op, args, _ = code[i]
    return op not in ("div", "recip", "sqrt", "pow", "log1p") and all(_cannot_fail(code, a) for a in args)


def _payload(step: Step) -> arb | None:
    return constant(step.exact) if step.op == "const" and step.exact is not None else None
