"""Whether |g| stays under a limit on a finite interval: subdivision, with a witness when it does not."""

from collections.abc import Callable
from itertools import pairwise

from flint import arb

from sugar_search.symbolic.certificates.ball import Program
from sugar_search.symbolic.certificates.enclosure import Status, Verdict
from sugar_search.symbolic.certificates.smooth import CONDITIONS

__all__ = ["bounded", "pieces_of", "undefined"]

_MAX_EVALUATIONS = 4000
_NARROW = 2.0**-44

Value = Callable[[arb], arb]


def pieces_of(low: float, high: float) -> list[tuple[float, float]]:
    """[low, high] in intervals that double in length away from 0, from 1/8 on."""
    ends = {low, high}
    step = 0.125
    while step < max(abs(low), abs(high)):
        ends.update(end for end in (-step, step) if low < end < high)
        step *= 2
    if low < 0 < high:
        ends.add(0.0)
    ordered = sorted(ends)
    return list(pairwise(ordered))


def bounded(program: Program, low: float, high: float, limit: float, value: Value | None = None) -> Verdict:
    """Whether g is finite and |g| <= limit on [low, high].

    Args:
        program: g.
        low: left end.
        high: right end.
        limit: of |g|.
        value: encloses g on a ball; the program's own value by default. Witnesses always come from the program.
    """
    function = value or program.value
    stack = pieces_of(low, high)
    stack.reverse()
    used = 0
    top = arb(limit)
    while stack:
        a, b = stack.pop()
        half = (b - a) / 2
        middle = a + half
        ball = function(arb(middle, half))
        used += 1
        if ball.is_finite() and ball.abs_upper() <= top:
            continue
        if half < 0.3 and (witness := _witness(program, middle, top)):
            return _named(program, witness, a, b)
        if half < _NARROW * max(1.0, abs(middle)):
            return _last(program, a, b, top)
        if used > _MAX_EVALUATIONS:
            return Verdict(Status.UNPROVEN, "subdivision limit", f"is not decided near x = {middle:.6g}")
        stack += [(middle, b), (a, middle)]
    return Verdict(Status.PROVEN)


def _witness(program: Program, x: float, top: arb) -> Verdict | None:
    """Proof at one point that g is too large or not defined; told at a short number near it if that serves as well."""
    found = _proof(program, x, top)
    return found and (_proof(program, float(f"{x:.6g}"), top) or found)


def _proof(program: Program, x: float, top: arb) -> Verdict | None:
    registers = program.registers(arb(x))
    value = registers[-1]
    if value.is_finite():
        if value.abs_lower() > top:
            return Verdict(Status.REFUTED, "too large", f"exceeds {float(top):g} in size near x = {_short(x)}")
        return None
    return undefined(program, registers, x)


def _short(x: float) -> str:
    return f"{x:.6g}" if float(f"{x:.6g}") == x else repr(x)


def _named(program: Program, witness: Verdict, a: float, b: float) -> Verdict:
    """The same verdict, called a pole where a divisor changes sign between a and b."""
    if witness.reason == "too large":
        left, right = program.registers(arb(a)), program.registers(arb(b))
        for i in _live(program, left):
            step = program.steps[i]
            if step.op in ("div", "recip") and left[step.args[-1]] * right[step.args[-1]] <= 0:
                return Verdict(witness.status, "pole", witness.detail)
    return witness


def undefined(program: Program, registers: list[arb], x: float) -> Verdict | None:
    """Proof that g is not a finite real number at a point, from the enclosures of all steps there."""
    for i in sorted(_live(program, registers, certain=True)):
        step = program.steps[i]
        args = [registers[a] for a in step.args]
        if step.op in ("div", "recip") and args[-1].is_zero():
            return Verdict(Status.REFUTED, "pole", f"divides by 0 at x = {_short(x)}")
        if (step.op in ("sqrt", "pow") and args[0] < 0) or (step.op == "log1p" and args[0] <= -1):
            return Verdict(Status.REFUTED, "not real", f"is not a real number at x = {_short(x)}")
    return None


def _live(program: Program, registers: list[arb], certain: bool = False) -> set[int]:
    """The steps that g depends on at a point; only the branch that is taken.

    Where a condition is not decided both branches count, or with `certain` neither.
    """
    live: set[int] = set()
    stack = [len(program.steps) - 1]
    while stack:
        i = stack.pop()
        if i in live:
            continue
        live.add(i)
        step = program.steps[i]
        if step.op == "where" and registers[step.args[0]] is not None:
            stack += [step.args[0], step.args[1] if registers[step.args[0]] else step.args[2]]
        elif step.op == "where" and certain:
            stack.append(step.args[0])
        else:
            stack.extend(step.args)
    return live


def _last(program: Program, a: float, b: float, top: arb) -> Verdict:
    """The verdict on an interval that is too narrow to divide."""
    for x in (a, b):
        if witness := _witness(program, x, top):
            return witness
    x = a + (b - a) / 2
    registers = program.registers(arb(x, (b - a) / 2))
    live = sorted(_live(program, registers))
    where = f"near x = {x:.6g}"
    for i in live:
        step = program.steps[i]
        if step.op in CONDITIONS or registers[i] is None or registers[i] is True or registers[i] is False:
            continue
        if not registers[i].is_finite() and all(registers[j].is_finite() for j in step.args if _is_ball(registers[j])):
            if step.op in ("div", "recip"):
                return Verdict(Status.UNPROVEN, "division by 0", f"divides by an interval that holds 0 {where}")
            if step.op in ("sqrt", "pow", "log1p"):
                return Verdict(Status.UNPROVEN, "domain not decided", f"may not be a real number {where}")
            if step.op == "where":
                return Verdict(Status.UNPROVEN, "condition not decided", f"has a condition that is not decided {where}")
    return Verdict(Status.UNPROVEN, "subdivision limit", f"is not decided {where}")


def _is_ball(value: object) -> bool:
    return isinstance(value, arb)
