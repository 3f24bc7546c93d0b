"""Smooth straight lines of steps in ball arithmetic: values, Taylor coefficients and the analytic continuation."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flint import acb, arb, arb_series, ctx, fmpq

from sugar_search.symbolic.certificates.constants import constant, rational
from sugar_search.symbolic.certificates.enclosing import COMPLEX, REAL, TAYLOR, ball_power, complex_power, taylor_power
from sugar_search.symbolic.certificates.working import working

__all__ = ["CONDITIONS", "POSITIVE", "Smooth", "taylor_terms", "value_function"]

CONDITIONS = ("gt", "lt", "min", "max", "abs", "sign")
# Over 0 for every argument.
POSITIVE = ("exp", "sigmoid", "softplus", "normal_cdf", "normal_pdf")
_LONGEST = 8
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "neg": operator.neg,
}


def taylor_terms(count: int) -> working:
    """Sets how many Taylor coefficients `Smooth.series` gives, for a while."""
    return working(cap=count)


@dataclass(frozen=True)
class Smooth:
    """A straight line of steps, smooth when `waiting` (steps of undecided conditions) is empty."""

    code: tuple[tuple[str, tuple[int, ...], Any], ...]
    nonnegative: tuple[bool, ...]
    waiting: tuple[int, ...]

    @cached_property
    def _series(self) -> list[tuple[Callable[..., Any] | None, tuple[int, ...], Any]]:
        made = []
        for op, args, exact in self.code:
            # A series keeps the length it was made for: constants outlive a change of `ctx.cap`.
            payload = arb_series([constant(exact)], _LONGEST) if op == "const" else None
            made.append((_series_function(op, args, exact, self.nonnegative), args, payload))
        return made

    def series(self, x: arb) -> arb_series:
        """Taylor coefficients of g enclosed on a ball, as many as `ctx.cap`."""
        return self._run(arb_series([x, 1]))

    @cached_property
    def _real(self) -> list[tuple[Callable[..., Any] | None, tuple[int, ...], Any]]:
        made = []
        for op, args, exact in self.code:
            payload = constant(exact) if op == "const" else None
            made.append((value_function(op, args, exact, self.nonnegative), args, payload))
        return made

    def value(self, x: arb) -> arb:
        """The enclosure of g on a ball."""
        out: list[Any] = []
        for function, args, payload in self._real:
            if function is None:
                out.append(x if payload is None else payload)
            else:
                out.append(function(*[out[a] for a in args]))
        return out[-1]

    def _run(self, x: arb_series) -> arb_series:
        out: list[Any] = []
        for function, args, payload in self._series:
            if function is None:
                out.append(x if payload is None else payload)
            else:
                out.append(function(*[out[a] for a in args]))
        return out[-1]

    def complex(self, z: acb, analytic: bool) -> acb:
        """The analytic continuation at a complex ball; not finite where it is not analytic and has to be."""
        out: list[Any] = []
        for op, args, exact in self.code:
            match op:
                case "x":
                    out.append(z)
                case "const":
                    out.append(acb(constant(exact)))
                case "copy":
                    out.append(out[args[0]])
                case "pow":
                    out.append(complex_power(out[args[0]], constant(exact), analytic))
                case "div":
                    out.append(out[args[0]] / out[args[1]])
                case "neg" | "add" | "sub" | "mul":
                    out.append(_ARITHMETIC[op](*(out[a] for a in args)))
                case _:
                    out.append(COMPLEX[op](out[args[0]], analytic))
        return out[-1]

    @cached_property
    def linear(self) -> tuple[fmpq, fmpq] | None:
        """Slope and offset when g is a straight line with rational coefficients."""
        forms: list[tuple[fmpq, fmpq] | None] = []
        for op, args, exact in self.code:
            forms.append(_linear(op, [forms[a] for a in args], exact))
        return forms[-1]

    def prefix(self, i: int) -> "Smooth":
        """The function of step `i`."""
        needed = {i}
        for j in range(i, -1, -1):
            if j in needed:
                needed.update(self.code[j][1])
        places = {j: position for position, j in enumerate(sorted(needed))}
        code = tuple((op, tuple(places[a] for a in args), c) for op, args, c in (self.code[j] for j in sorted(needed)))
        return Smooth(code, tuple(self.nonnegative[j] for j in sorted(needed)), self.waiting)

    @property
    def is_constant(self) -> bool:
        """Whether x does not occur."""
        return all(op != "x" for op, _, _ in self.code)


def _copy(u: Any) -> Any:
    return u


def _linear(op: str, args: list[tuple[fmpq, fmpq] | None], exact: Any) -> tuple[fmpq, fmpq] | None:
    if op == "x":
        return fmpq(1), fmpq(0)
    if op == "const":
        value = rational(exact)
        return None if value is None else (fmpq(0), value)
    if op not in ("add", "sub", "mul", "div", "neg", "copy") or any(a is None for a in args):
        return None
    (a, b), *rest = [form for form in args if form is not None]
    if op == "copy":
        return a, b
    if op == "neg":
        return -a, -b
    c, d = rest[0]
    if op == "add":
        return a + c, b + d
    if op == "sub":
        return a - c, b - d
    if op == "mul":
        return (a * d + c * b, b * d) if a == 0 or c == 0 else None
    return (a / d, b / d) if c == 0 and d != 0 else None


def _greater(a: arb, b: arb) -> bool | None:
    d = a - b
    return True if d > 0 else False if d <= 0 else None


def _less(a: arb, b: arb) -> bool | None:
    return _greater(b, a)


def _choose(c: bool | None, u: arb, v: arb) -> arb:
    return u.union(v) if c is None else u if c else v


def _divide(a: arb, b: arb) -> arb:
    return a / b if b > 0 or b < 0 else a * arb("nan")


_PLAIN: dict[str, Callable[..., Any]] = {
    "gt": _greater,
    "lt": _less,
    "where": _choose,
    "div": _divide,
    "copy": _copy,
}


def value_function(
    op: str, args: tuple[int, ...], exact: Any, nonnegative: tuple[bool, ...]
) -> Callable[..., Any] | None:
    """How a step acts on balls; None for x and constants."""
    if op in ("x", "const"):
        return None
    if op in _PLAIN:
        return _PLAIN[op]
    if op == "mul" and args[0] == args[1]:
        return lambda u, _: REAL["square"](u)
    if op in _ARITHMETIC:
        return _ARITHMETIC[op]
    # Rounding may push the ball of a value that cannot be negative a little under 0.
    clip = op in ("sqrt", "pow") and nonnegative[args[0]]
    if op == "pow":
        exponent = constant(exact)
        return (lambda u: ball_power(u.nonnegative_part(), exponent)) if clip else lambda u: ball_power(u, exponent)
    function = REAL[op]
    return (lambda u: function(u.nonnegative_part())) if clip else function


def _series_function(op: str, args: tuple[int, ...], exact: Any, nonnegative: Any) -> Callable[..., Any] | None:
    if op in ("x", "const"):
        return None
    if op == "copy":
        return _copy
    if op == "square" or (op == "mul" and args[0] == args[1]):
        return lambda u, *_: _squared(u)
    if op == "div":
        taylor = TAYLOR["recip"]
        return lambda a, b: a * _composed(taylor, b)
    if op in _ARITHMETIC:
        return _ARITHMETIC[op]
    if op in CONDITIONS or op == "where":
        return lambda *a: arb_series([arb("nan")] * 4)
    if op == "pow":
        exponent = constant(exact)
        return lambda u: _composed(lambda v: taylor_power(v, exponent), u)
    function = TAYLOR[op]
    if op == "sqrt" and nonnegative[args[0]]:
        return lambda u: _composed(lambda v: function(v.nonnegative_part()), u)
    return lambda u: _composed(function, u)


def _composed(taylor: Callable[[arb], tuple[arb, ...]], u: arb_series) -> arb_series:
    start = u[0]
    coefficients = taylor(start)
    h = u - arb_series([start])
    # u - u[0] leaves the width of u[0] in the constant coefficient; the expansion is about every point of it.
    h[0] = 0
    result = arb_series([coefficients[ctx.cap - 1]])
    for c in coefficients[ctx.cap - 2 :: -1]:
        result = result * h + c
    return result


def _squared(u: arb_series) -> arb_series:
    result = u * u
    result[0] = REAL["square"](u[0])
    return result
