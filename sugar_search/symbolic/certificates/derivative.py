"""The tape of g', by forward differentiation of the tape of g; jumps are left out, as by every framework."""

import sympy
from sympy import Expr, S

from sugar_search.symbolic.primitives import number
from sugar_search.symbolic.steps import Step
from sugar_search.symbolic.tape import Tape

__all__ = ["derivative"]


class _Forward:
    """The steps of g, each followed by the steps of its derivative; None stands for a derivative that is 0."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.known: dict[Step, int] = {}

    def emit(self, op: str, *args: int, exact: Expr | None = None) -> int:
        step = Step(op, args, None if exact is None else float(number(exact)), exact)
        if step not in self.known:
            self.known[step] = len(self.steps)
            self.steps.append(step)
        return self.known[step]

    def constant(self, value: Expr) -> int:
        return self.emit("const", exact=value)

    def times(self, a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else self.emit("mul", a, b)

    def sum(self, a: int | None, b: int | None) -> int | None:
        if a is None or b is None:
            return b if a is None else a
        return self.emit("add", a, b)

    def negative(self, a: int | None) -> int | None:
        return None if a is None else self.emit("neg", a)

    def scaled(self, factor: Expr, a: int) -> int:
        return self.emit("mul", self.constant(factor), a)

    def choose(self, condition: int, u: int | None, v: int | None) -> int | None:
        if u is None and v is None:
            return None
        zero = self.constant(S.Zero)
        return self.emit("where", condition, zero if u is None else u, zero if v is None else v)

    def slope(self, op: str, y: int, u: int) -> int:
        """F'(u) for y = F(u)."""
        match op:
            case "exp":
                return y
            case "sigmoid":
                return self.emit("mul", y, self.emit("sigmoid", self.emit("neg", u)))
            case "tanh":
                v = self.scaled(sympy.Integer(2), u)
                both = self.emit("mul", self.emit("sigmoid", v), self.emit("sigmoid", self.emit("neg", v)))
                return self.scaled(sympy.Integer(4), both)
            case "softplus":
                return self.emit("sigmoid", u)
            case "log1p":
                return self.emit("recip", self.emit("add", u, self.constant(S.One)))
            case "erf":
                bell = self.emit("exp", self.emit("neg", self.emit("square", u)))
                return self.scaled(2 / sympy.sqrt(sympy.pi), bell)
            case "normal_cdf":
                return self.emit("normal_pdf", u)
            case "normal_pdf":
                return self.emit("neg", self.emit("mul", u, y))
            case "atan":
                return self.emit("recip", self.emit("add", self.emit("square", u), self.constant(S.One)))
            case "sqrt":
                return self.emit("div", self.constant(S.Half), y)
            case "abs":
                return self.emit("sign", u)
            case "square":
                return self.scaled(sympy.Integer(2), u)
            case "recip":
                return self.emit("neg", self.emit("square", y))
        raise ValueError(f"no derivative is known for {op}")


def derivative(tape: Tape) -> Tape:
    """The tape of g'; at a jump and at a kink it takes the value of one side."""
    f = _Forward()
    value: list[int] = []
    slope: list[int | None] = []
    for step in tape.steps:
        args = [value[a] for a in step.args]
        slopes = [slope[a] for a in step.args]
        y = f.emit(step.op, *args, exact=step.exact)
        value.append(y)
        slope.append(_slope(f, step, y, args, slopes))
    last = slope[-1]
    end = f.constant(S.Zero) if last is None else last
    return Tape(tuple(f.steps[: end + 1]))


def _slope(f: _Forward, step: Step, y: int, args: list[int], d: list[int | None]) -> int | None:
    match step.op:
        case "x":
            return f.constant(S.One)
        case "const" | "sign" | "gt" | "lt":
            return None
        case "add":
            return f.sum(d[0], d[1])
        case "sub":
            return f.sum(d[0], f.negative(d[1]))
        case "neg":
            return f.negative(d[0])
        case "mul":
            return f.sum(f.times(d[0], args[1]), f.times(args[0], d[1]))
        case "div":
            top = f.sum(d[0], f.negative(f.times(y, d[1])))
            return None if top is None else f.emit("div", top, args[1])
        case "where":
            return f.choose(args[0], d[1], d[2])
        case "min" | "max":
            return f.choose(f.emit("gt" if step.op == "max" else "lt", *args), d[0], d[1])
        case "pow":
            assert step.exact is not None
            return f.times(f.scaled(step.exact, f.emit("div", y, args[0])), d[0])
    return None if d[0] is None else f.times(f.slope(step.op, y, args[0]), d[0])
