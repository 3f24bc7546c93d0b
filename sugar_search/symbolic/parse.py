"""Formula text to sympy through a whitelist of Python syntax. Text is never evaluated.

Decimal literals become exact rationals, so `1.67/2` is 167/200 and no rounding enters a formula. Every refusal is a
`FormulaError` that names the column, and comes within milliseconds however hostile the text: size is checked before
parsing, and constants are checked at each fold, before they can grow.
"""

import ast
import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import sympy
from sympy import Expr, Rational, S

from sugar_search.errors import FormulaError
from sugar_search.symbolic.folding import NOT_REAL, constant_part, folded, is_real, is_root
from sugar_search.symbolic.functions import own, where
from sugar_search.symbolic.limits import (
    FINE,
    GRAMMAR,
    MAX_DIGITS,
    MAX_EXPONENT,
    MAX_FOLDED_EXPONENT,
    MAX_NUMBER,
    MAX_ROOT,
    MAX_WRITTEN_OUT,
    MIN_NUMBER,
    refuse,
    syntax_tree,
)
from sugar_search.symbolic.primitives import CALLABLE, PRIMITIVES, X, number

__all__ = ["MAX_NUMBER", "NAME", "RESERVED", "parse"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
CONSTANTS: dict[str, Expr] = {"x": X, "pi": sympy.pi, "e": sympy.E}
RESERVED: frozenset[str] = frozenset(CONSTANTS) | frozenset(PRIMITIVES)

_HINTS = {ast.BitXor: "write a power as **", ast.FloorDiv: "write a division as /", ast.MatMult: "write a product as *"}


def parse(text: str, parameters: Collection[str] = (), *, values: Mapping[str, Rational] | None = None) -> Expr:
    """The sympy expression of `text` in x and `parameters`.

    Args:
        text: the formula, such as "sigmoid(x) + (x + a)*sigmoid(x)*(1 - sigmoid(x))".
        parameters: names that stay symbols.
        values: names replaced by exact constants while parsing, so that limits on constants see their values.

    Raises:
        FormulaError: the text breaks a rule; the message names the column.
    """
    if not isinstance(text, str):
        raise FormulaError("a formula must be text", text, GRAMMAR)
    names = dict(CONSTANTS)
    names.update({name: sympy.Symbol(name, real=True) for name in parameters})
    names.update(values or {})
    source, offset, tree = syntax_tree(text)
    result = own(_Reader(source, offset, names).read(tree))
    if not is_real(result):
        raise refuse(1, "a formula must be real and finite", text, "remove the division by 0 or the complex value")
    # Sympy may have folded deep inside, as in exp(c)**2 = exp(2*c).
    if any(abs(n) > MAX_NUMBER for n in result.atoms(Rational)):
        raise refuse(1, f"a constant must be at most {MAX_NUMBER:,} in size after folding", text, "use a smaller one")
    return result


class _Reader:
    """Turns a checked syntax tree into sympy."""

    def __init__(self, source: str, offset: int, names: Mapping[str, Expr]) -> None:
        self.source, self.offset, self.names = source, offset, names
        self.sizes: dict[Expr, int] = {}

    def column(self, node: ast.AST) -> int:
        return self.offset + int(getattr(node, "col_offset", 0)) + 1

    def segment(self, node: ast.expr) -> str:
        return self.source[node.col_offset : node.end_col_offset]

    def refuse(self, node: ast.expr, rule: str, remedy: str) -> FormulaError:
        return refuse(self.column(node), rule, self.segment(node), remedy)

    def read(self, node: ast.expr) -> Expr:
        """The expression of one node, its constants checked."""
        match node:
            case ast.Constant():
                result = self.literal(node)
            case ast.Name():
                result = self.name(node)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                inner = self.read(node.operand)
                result = -inner if isinstance(node.op, ast.USub) else inner
            case ast.BinOp(op=ast.Pow()):
                result = self.power(node)
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                result = sympy.Add(*self.terms(node))
            case ast.BinOp(op=ast.Mult() | ast.Div()):
                result = sympy.Mul(*self.factors(node))
            case ast.Call():
                result = self.call(node)
            case ast.IfExp():
                result = self.choose(node.test, self.read(node.body), self.read(node.orelse))
            case ast.Compare():
                raise self.refuse(node, "a comparison must be the condition of where(cond, a, b)", "wrap it in where")
            case ast.BinOp():
                hint = _HINTS.get(type(node.op), GRAMMAR)
                raise self.refuse(node, "an operator must be one of + - * / **", hint)
            case _:
                kind = type(node).__name__.lower()
                raise self.refuse(node, f"a formula must not contain this syntax ({kind})", GRAMMAR)
        return self.checked(node, result)

    def checked(self, node: ast.expr, e: Expr) -> Expr:
        """Refuses constants that are not real, too large or too long, before anything builds on them."""
        if self.size(e) > MAX_WRITTEN_OUT:
            rule = f"a formula must have at most {MAX_WRITTEN_OUT:,} parts once min and max are written out"
            raise self.refuse(node, rule, "nest fewer of them")
        if any(is_root(t) for a in (e, *e.args) for t in (a, *a.args)):
            e = e.replace(is_root, folded)
        constant = e if not e.free_symbols else constant_part(e)
        if constant is not None:
            self.check_value(node, constant)
        for part in (e, *e.args, *(t for a in e.args for t in a.args)):
            if part.is_Rational and 0 < abs(part) < MIN_NUMBER:
                raise self.refuse(node, "a constant must be 0 or at least 1e-300 in size", "use 0 or a larger one")
            if part.is_Rational and max(len(str(part.p)), len(str(part.q))) > MAX_DIGITS:
                raise self.refuse(node, f"a constant must have at most {MAX_DIGITS} digits", "round it")
            if part.is_Number and abs(part) > MAX_NUMBER:
                raise self.refuse(node, f"a constant must be at most {MAX_NUMBER:,} in size", "use a smaller one")
            if part.is_Pow and not part.exp.free_symbols and abs(number(part.exp)) > MAX_FOLDED_EXPONENT:
                rule = f"an exponent must be at most {MAX_FOLDED_EXPONENT} in size after folding"
                raise self.refuse(node, rule, "use a lower power")
            if part.is_Pow and part.exp.is_Rational:
                self.check_root(node, part.base, part.exp)
            self.check_divisor(node, part)
        return e

    def check_divisor(self, node: ast.expr, e: Expr) -> None:
        # What is divided by is written as a product, which must be a legal constant itself.
        below = [t for t in sympy.Mul.make_args(e) if t.is_Pow and not t.free_symbols and t.exp.is_negative]
        if below and abs(number(sympy.Mul(*below))) * MAX_NUMBER < 1:
            raise self.refuse(node, f"a divisor must be at most {MAX_NUMBER:,} in size", "use a smaller one")

    def check_root(self, node: ast.expr, base: Expr, exponent: Rational) -> None:
        # An exponent beyond the written ones is written as a power of a power, with up to eight times the denominator.
        if exponent.q > (MAX_ROOT if abs(exponent) <= MAX_EXPONENT else MAX_ROOT // 8):
            rule = "an exponent must be a fraction with a denominator of at most 10**36"
            raise self.refuse(node, rule, "round it to four decimals")
        # Asking for the sign of such powers within one another, sympy raises integers to all their denominators.
        if exponent.q > FINE and _fine_levels(base) > 1:
            rule = "powers whose exponents have more than five decimals must not nest more than two deep"
            raise self.refuse(node, rule, "round an exponent to four decimals")

    def size(self, e: Expr) -> int:
        """Parts of e, shared ones counted each time; each is visited once."""
        if e not in self.sizes:
            self.sizes[e] = 1 + sum(map(self.size, e.args))
        return self.sizes[e]

    def check_value(self, node: ast.expr, e: Expr) -> None:
        if e.has(*NOT_REAL):
            raise self.refuse(
                node, "a constant must be a finite real number", "remove the division by 0 or the complex value"
            )
        value = number(e)
        if value != value:
            raise self.refuse(node, "a constant must be a real number", "remove the complex value")
        if abs(value) > MAX_NUMBER:
            raise self.refuse(node, f"a constant must be at most {MAX_NUMBER:,} in size", "use a smaller one")

    def literal(self, node: ast.Constant) -> Expr:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            kind = type(node.value).__name__
            raise self.refuse(node, f"a constant must be a real number, not {kind}", GRAMMAR)
        if isinstance(node.value, int):
            value = Fraction(min(node.value, 10 * MAX_NUMBER))
        else:
            try:
                decimal = Decimal(self.segment(node))
            except InvalidOperation:
                raise self.refuse(node, "a number must be a decimal", "write it like 0.25") from None
            if decimal and abs(decimal.adjusted()) > MAX_DIGITS - 20:
                raise self.refuse(node, "a number must be between 1e-300 and 1e9 in size", "use 0 or a larger one")
            value = Fraction(decimal)
        if value > MAX_NUMBER:
            raise self.refuse(node, f"a constant must be at most {MAX_NUMBER:,} in size", "use a smaller one")
        return Rational(value.numerator, value.denominator)

    def name(self, node: ast.Name) -> Expr:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in CALLABLE:
            raise self.refuse(node, f"{node.id} is a function and needs its argument", f"write {node.id}(...)")
        raise self.unknown(node, node.id)

    def unknown(self, node: ast.expr, name: str) -> FormulaError:
        known = [*self.names, *CALLABLE]
        near = difflib.get_close_matches(name.lower()[:40], known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        allowed = ", ".join(sorted(known, key=lambda k: (k not in near, k)))
        return refuse(
            self.column(node), "a name must be x, a parameter or a primitive", name, f"{hint}allowed: {allowed}"
        )

    def terms(self, node: ast.expr, sign: int = 1) -> Iterator[Expr]:
        """The terms of a chain of sums, so that sympy sees them at once."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            yield from self.terms(node.left, sign)
            yield self.read(node.right) * (-sign if isinstance(node.op, ast.Sub) else sign)
        else:
            yield sign * self.read(node)

    def factors(self, node: ast.expr) -> Iterator[Expr]:
        """The factors of a chain of products: sympy distributes 2*(x + 1), but must not inside 2*(x + 1)*y."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            yield from self.factors(node.left)
            right = self.read(node.right)
            if isinstance(node.op, ast.Div) and right == 0:
                raise self.refuse(node.right, "a divisor must not be 0", "remove the division")
            yield 1 / right if isinstance(node.op, ast.Div) else right
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield S.NegativeOne
            yield from self.factors(node.operand)
        else:
            yield self.read(node)

    def power(self, node: ast.BinOp) -> Expr:
        base, exponent = self.read(node.left), self.read(node.right)
        if X in exponent.free_symbols:
            if base == sympy.E:
                return sympy.exp(exponent)
            raise self.refuse(node.right, "an exponent must be constant", "use exp(...) for a power that depends on x")
        if not exponent.free_symbols:
            value = number(exponent)
            if abs(value) > MAX_EXPONENT:
                raise self.refuse(
                    node.right, f"an exponent must be at most {MAX_EXPONENT} in size", "use a lower power"
                )
            if base == 0 and value < 0:
                raise self.refuse(node, "a divisor must not be 0", "remove the division")
        if exponent.is_Integer or exponent.free_symbols:
            return base**exponent
        if base != sympy.E and exponent.is_Rational:
            self.check_root(node.right, base, exponent)
        root = sympy.Pow(base, exponent, evaluate=False)
        if is_root(root):
            return folded(root)
        coefficient = abs(base.as_coeff_Mul()[0])
        root = sympy.Pow(coefficient, exponent, evaluate=False)
        if coefficient != 1 and is_root(root):
            # Sympy would take it out too, and raise integers to the exponent's denominator.
            return sympy.Mul(folded(root), (base / coefficient) ** exponent)
        return base**exponent

    def call(self, node: ast.Call) -> Expr:
        if not isinstance(node.func, ast.Name):
            raise self.refuse(node.func, "only a primitive may be called", GRAMMAR)
        row = PRIMITIVES.get(node.func.id) if node.func.id in CALLABLE else None
        if row is None:
            raise self.unknown(node.func, node.func.id)
        if node.keywords or any(isinstance(a, ast.Starred) for a in node.args) or len(node.args) != row.arity:
            rule = f"{row.name} must be called with {row.arity} positional argument{'s' if row.arity > 1 else ''}"
            raise self.refuse(node, rule, f"{row.name}: {row.doc}")
        if row.name == "where":
            return self.choose(node.args[0], self.read(node.args[1]), self.read(node.args[2]))
        arguments = [self.read(a) for a in node.args]
        if row.name == "recip" and arguments[0] == 0:
            raise self.refuse(node, "a divisor must not be 0", "remove the division")
        return row.sympy(*arguments)

    def choose(self, test: ast.expr, then: Expr, other: Expr) -> Expr:
        """`then` where the comparison holds, in the form "d > 0"."""
        if not isinstance(test, ast.Compare) or len(test.ops) != 1:
            raise self.refuse(test, "a condition must be one comparison", "write it like x > 0")
        left, right = self.read(test.left), self.read(test.comparators[0])
        match test.ops[0]:
            case ast.Gt():
                return where(left - right, then, other)
            case ast.Lt():
                return where(right - left, then, other)
            case ast.GtE():
                return where(right - left, other, then)
            case ast.LtE():
                return where(left - right, other, then)
        raise self.refuse(test, "a comparison must be one of > >= < <=", "write it like x > 0")


def _fine_levels(e: Expr) -> int:
    """How deep powers with long exponents nest in e."""
    inner = max(map(_fine_levels, e.args), default=0) if e.has(sympy.Pow) else 0
    return inner + int(bool(e.is_Pow and e.exp.is_Rational and e.exp.q > FINE))
