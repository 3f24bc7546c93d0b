"""What a grammar is made of: productions of formula text, and constants."""

import ast
import keyword
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import sympy
from sympy import Expr

from sugar_search.errors import FormulaError
from sugar_search.symbolic.limits import syntax_tree
from sugar_search.symbolic.parse import MAX_NUMBER, RESERVED, parse

__all__ = ["Constant", "Production"]

MIN_WEIGHT, MAX_WEIGHT = 1e-3, 1e3  # products of these over a derivation stay within float64
DIGITS = 4  # significant digits of a constant from a range, so that formulas stay short

_WORD = re.compile(r"(?<![\w.])[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Constant:
    """A number to be chosen: from [low, high], evenly or in logarithm, or from a grid.

    Attributes:
        low, high: range, ends included.
        log: even in logarithm.
        grid: values to choose from, in place of the range.
        parameter: keeps a name in the surrogate, as the parameters of a family do.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    grid: tuple[float, ...] = ()
    parameter: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", tuple(self.grid))  # TOML gives a list

    def faults(self) -> Iterator[str]:
        """What is wrong with it."""
        values = self.grid or (self.low, self.high)
        flags = (self.log, self.parameter)
        if not all(_is_number(v) for v in values) or not all(isinstance(v, bool) for v in flags):
            yield f"its values must be numbers, log and parameter true or false, got {(*values, *flags)}"
        elif not all(math.isfinite(v) and abs(v) <= MAX_NUMBER for v in values):
            yield f"its values must be finite and at most {MAX_NUMBER:g} in size, got {values}"
        elif len(set(self.grid)) < len(self.grid):
            yield f"its grid must not repeat a value, got {self.grid}"
        elif not self.grid and self.low >= self.high:
            yield f"low must be under high, got {self.low:g} and {self.high:g}"
        elif not self.grid and self.log and self.low <= 0:
            yield f"low must be positive when log = true, got {self.low:g}"

    def rounded(self, value: float) -> float:
        """`value` as a derivation holds it: a value of the grid as it is, another to 4 digits within the range."""
        if self.grid:
            return float(value)
        return min(max(float(f"{value:.{DIGITS}g}"), float(self.low)), float(self.high)) + 0.0  # no -0.0

    def holds(self, value: float) -> bool:
        """Whether a derivation may hold `value`."""
        return value in self.grid if self.grid else self.low <= value <= self.high and self.rounded(value) == value


@dataclass(frozen=True)
class Production:
    """One alternative of a rule: formula text in which every word that is no primitive, x, pi or e is a child.

    Attributes:
        formula: text such as "step + (x + shift)*bump".
        weight: how often it is chosen among the alternatives of its rule, relative to theirs.
    """

    formula: str
    weight: float = 1.0

    @cached_property
    def _words(self) -> tuple[tuple[str, int, int], ...]:
        """Each child with its place in the text; plain tuples, as matches cannot be pickled."""
        found = _WORD.finditer(self.formula)
        return tuple((m[0], *m.span()) for m in found if m[0] not in RESERVED and not keyword.iskeyword(m[0]))

    @cached_property
    def children(self) -> tuple[str, ...]:
        """Names of rules and constants, in order of occurrence, repeats included."""
        return tuple(word for word, _, _ in self._words)

    @cached_property
    def symbols(self) -> tuple[Expr, ...]:
        """What stands for each child in the template."""
        return tuple(sympy.Symbol(f"_{i}", real=True) for i in range(len(self.children)))

    @cached_property
    def template(self) -> Expr:
        """The expression, the i-th child replaced by the symbol `_i`.

        Raises:
            FormulaError: the text is no formula.
        """
        names = [f"_{i}" for i in range(len(self.children))]
        return parse(self.filled(names, [True] * len(names)), names)

    @cached_property
    def cost(self) -> int:
        """Names, numbers and operations, counted as the limit on formulas counts them; children not counted."""
        tree = syntax_tree(self.formula)[2]
        return sum(isinstance(node, ast.expr) for node in ast.walk(tree)) - len(self.children)

    @cached_property
    def is_atom(self) -> bool:
        """Whether the text binds so tightly that it needs no brackets inside another formula."""
        tree = syntax_tree(self.formula)[2]
        return isinstance(tree, ast.Name | ast.Call) or (isinstance(tree, ast.Constant) and not self.children)

    def filled(self, texts: Sequence[str], atoms: Sequence[bool]) -> str:
        """The formula with its children written out; brackets go around those that are not atoms, where needed."""
        parts, end = [], 0
        for (_, first, last), text, atom in zip(self._words, texts, atoms):
            before, after = self.formula[:first].rstrip(), self.formula[last:].lstrip()
            alone = (not before or before[-1] in "(,") and (not after or after[0] in "),")
            parts += [self.formula[end:first], text if atom or alone else f"({text})"]
            end = last
        return "".join(parts) + self.formula[end:]

    def faults(self, names: Sequence[str]) -> Iterator[str]:
        """What is wrong with it, where `names` are the rules and constants."""
        if not _is_number(self.weight) or not MIN_WEIGHT <= self.weight <= MAX_WEIGHT:
            yield f"its weight must be a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}, got {self.weight!r}"
        try:
            parse(self.formula, names)
        except FormulaError as error:
            yield str(error)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
