"""Turns an expression into the steps of a tape, each distinct step once, in forms that are stable in floating point."""

from dataclasses import dataclass, field

import sympy
from sympy import Expr, S

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.identities import combined
from sugar_search.symbolic.primitives import BY_CLASS, X, number
from sugar_search.symbolic.text import sides

__all__ = ["Builder", "Step"]


@dataclass(frozen=True)
class Step:
    """One operation; its index in the tape is the register it fills.

    Attributes:
        op: "x", "const", "input", "add", "sub", "mul", "div", "neg", "pow", "gt", "lt", "where", or the name of a
            primitive.
        args: registers of the arguments.
        value: the constant of "const", the exponent of "pow"; else None.
        exact: the same as an exact sympy number.
        name: the symbol that an "input" stands for; else "".
    """

    op: str
    args: tuple[int, ...] = ()
    value: float | None = None
    exact: Expr | None = None
    name: str = ""


@dataclass
class Builder:
    """Emits steps, each distinct one once.

    Attributes:
        inputs: names of the symbols that are given when the tape runs.
    """

    inputs: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)
    known: dict[Step, int] = field(default_factory=dict)
    built: dict[Expr, int] = field(default_factory=dict)

    def emit(self, op: str, *args: int, exact: Expr | None = None, name: str = "") -> int:
        """The register of an operation, computed now or before."""
        step = Step(op, args, None if exact is None else float(number(exact)), exact, name)
        if step not in self.known:
            self.known[step] = len(self.steps)
            self.steps.append(step)
        return self.known[step]

    def constant(self, exact: Expr) -> int:
        """The register of an exact constant."""
        return self.emit("const", exact=exact)

    def build(self, e: Expr) -> int:
        """The register of an expression, computed now or before."""
        if e not in self.built:
            self.built[e] = self._build(e)
        return self.built[e]

    def _build(self, e: Expr) -> int:
        if not e.free_symbols:
            return self.constant(e)
        if e == X:
            return self.emit("x")
        if e.is_Symbol and e.name in self.inputs:
            return self.emit("input", name=e.name)
        if e.is_Add:
            return self.add(e)
        stable = combined(e) if e.is_Mul or e.is_Pow else _logarithm(e)
        if stable != e:
            return self.build(stable)
        if e.is_Mul:
            return self.multiply(e)
        if e.is_Pow:
            return self.quotient(S.One, [], [e]) if e.exp.is_negative else self.power(e.base, e.exp)
        if isinstance(e, f.where):
            return self.choose(*e.args)
        row = BY_CLASS.get(e.func)
        if row is None:
            raise ValueError(f"no primitive stands for {e.func.__name__}")
        return self.emit(row.name, *(self.build(a) for a in e.args))

    def add(self, e: Expr) -> int:
        """A sum, in its stable form if it has one."""
        stable = _complement(e)
        if stable is not None:
            return self.build(stable)
        return self.sum([a for a in e.args if a.free_symbols], [a for a in e.args if not a.free_symbols])

    def sum(self, terms: list[Expr], constants: list[Expr]) -> int:
        """Positive terms first, then the constant, then what is subtracted."""
        minus = [t for t in terms if t.as_coeff_Mul()[0].is_negative]
        registers = [self.build(t) for t in terms if t not in minus]
        offset = sympy.Add(*constants)
        negative_offset = bool(registers) and number(offset) < 0
        if offset != 0 and not negative_offset:
            registers.append(self.constant(offset))
        total = registers[0] if registers else self.build(minus.pop(0))
        for register in registers[1:]:
            total = self.emit("add", total, register)
        for term in minus:
            total = self.emit("sub", total, self.build(-term))
        return self.emit("sub", total, self.constant(-offset)) if negative_offset else total

    def multiply(self, e: Expr) -> int:
        """A product, split into coefficient, numerator and denominator."""
        above: list[Expr] = []
        below: list[Expr] = []
        coefficient = S.One
        for factor in e.args:
            if not factor.free_symbols:
                coefficient *= factor
            elif factor.is_Pow and factor.exp.is_negative:
                below.append(factor)
            else:
                above.append(factor)
        return self.quotient(coefficient, above, below)

    def quotient(self, coefficient: Expr, above: list[Expr], below: list[Expr]) -> int:
        """coefficient * product(above) * product(below), the latter with negative exponents."""
        top = self.product([self.build(a) for a in above])
        bottom = self.product([self.power(b.base, -b.exp) for b in below])
        if bottom is not None:
            if top is None:
                if coefficient == 1:
                    return self.emit("recip", bottom)
                return self.emit("div", self.constant(coefficient), bottom)
            top = self.emit("div", top, bottom)
        assert top is not None
        if coefficient == 1:
            return top
        return self.emit("neg", top) if coefficient == -1 else self.emit("mul", self.constant(coefficient), top)

    def product(self, registers: list[int]) -> int | None:
        """The product of registers; None if there are none."""
        if not registers:
            return None
        total = registers[0]
        for register in registers[1:]:
            total = self.emit("mul", total, register)
        return total

    def power(self, base: Expr, exponent: Expr) -> int:
        """base**exponent for a positive constant exponent: squares and square roots where they suffice."""
        root = self.build(base)
        if not (exponent.is_Rational and exponent.q in (1, 2)):
            return self.emit("pow", root, exact=exponent)
        whole = int(exponent.p // exponent.q)
        parts = [self.emit("sqrt", root)] if exponent.q == 2 else []
        square = root
        while whole:
            if whole & 1:
                parts.insert(0, square)
            whole >>= 1
            if whole:
                square = self.emit("square", square)
        result = self.product(parts)
        assert result is not None
        return result

    def choose(self, d: Expr, u: Expr, v: Expr) -> int:
        """`u if d > 0 else v`, the condition written as a comparison without subtraction."""
        left, right, less = sides(d)
        condition = self.emit("lt" if less else "gt", self.build(left), self.build(right))
        return self.emit("where", condition, self.build(u), self.build(v))


def _logarithm(e: Expr) -> Expr:
    """log1p of c*exp(u) as a softplus, of exp(u) - 1 as u: neither overflows. Anything else as it is."""
    if not isinstance(e, f.log1p):
        return e
    c, power = e.args[0].as_coeff_Mul()
    if isinstance(power, sympy.exp) and c.is_positive:
        return f.softplus(power.args[0] + f.log1p(c - 1))
    return next((t.args[0] for t in e.args[0].args if isinstance(t, sympy.exp) and e.args[0] == t - 1), e)


def _complement(e: Expr) -> Expr | None:
    """The stable form of c - c*sigmoid(u) and its like; None if `e` is not one of them."""
    if len(e.args) != 2:
        return None
    first, second = sorted(e.args, key=lambda a: bool(a.free_symbols))
    k, atom = second.as_coeff_Mul()
    if first.free_symbols:
        return _logistic_variance(*e.args)
    if first not in (k, -k):
        return None
    sign = 1 if first == k else -1
    u = atom.args[0] if atom.args else S.Zero
    if sign < 0 and isinstance(atom, f.sigmoid | f.normal_cdf):
        return first * atom.func(-u)
    if isinstance(atom, f.tanh):
        return 2 * first * f.sigmoid(2 * sign * u)
    if isinstance(atom, sympy.erf):
        return 2 * first * f.normal_cdf(sign * sympy.sqrt(2) * u)
    if sign < 0 and atom.is_Pow and atom.exp == 2 and isinstance(atom.base, f.tanh):
        v = atom.base.args[0]
        return sympy.Mul(4 * first, f.sigmoid(2 * v), f.sigmoid(-2 * v))
    return None


def _logistic_variance(a: Expr, b: Expr) -> Expr | None:
    """k*sigmoid(u) - k*sigmoid(u)**2 as k*sigmoid(u)*sigmoid(-u)."""
    for one, two in ((a, b), (b, a)):
        k, atom = one.as_coeff_Mul()
        if isinstance(atom, f.sigmoid) and two == -k * atom**2:
            return sympy.Mul(k, atom, f.sigmoid(-atom.args[0]))
    return None
