"""Limits on formula text, and its syntax tree once it obeys those on size."""

import ast
import re
import warnings

from sympy import Rational

from sugar_search.errors import FormulaError

__all__ = [
    "FINE",
    "GRAMMAR",
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_EXPONENT",
    "MAX_FOLDED_EXPONENT",
    "MAX_LENGTH",
    "MAX_NODES",
    "MAX_NUMBER",
    "MAX_ROOT",
    "MAX_WRITTEN_OUT",
    "MIN_NUMBER",
    "refuse",
    "syntax_tree",
]

MAX_LENGTH = 2_000  # characters
MAX_NODES = 200  # numbers, names, operations and calls
MAX_WRITTEN_OUT = 2_000  # parts once min and max, which repeat their arguments, are written out
MAX_DEPTH = 40  # nested operations
MAX_NUMBER = 10**9  # size of any constant, also after folding
MIN_NUMBER = Rational(1, 10**300)  # size of any constant but 0, likewise
MAX_EXPONENT = 8  # size of a written exponent
MAX_FOLDED_EXPONENT = 64  # size of an exponent after folding, as in (x**8)**8
MAX_ROOT = 10**36  # denominator of an exponent; a product of two doubles has 34 digits
FINE = 10**5  # denominators of exponents beyond which powers must not be nested
MAX_DIGITS = 320  # decimal places and digits of an exact constant

GRAMMAR = "use numbers, x, + - * / **, parentheses, where(cond, a, b) and the primitives"
_CHAINS = ((ast.Add, ast.Sub), (ast.Mult, ast.Div))


def syntax_tree(text: str) -> tuple[str, int, ast.expr]:
    """The stripped text, the number of characters stripped before it, and its tree.

    Raises:
        FormulaError: the text is not one line of ASCII, too long, too deep, or no Python expression.
    """
    source = text.strip(" \t\n")
    offset = len(text) - len(text.lstrip(" \t\n")) if source else 0
    _check_characters(source, offset)
    tree = _tree(source, offset)
    _check_size(source, offset, tree)
    return source, offset, tree


def refuse(column: int, rule: str, value: object, remedy: str) -> FormulaError:
    """The error that names a 1-based column."""
    return FormulaError(f"column {column}: {rule}", value, remedy)


def _check_characters(source: str, offset: int) -> None:
    if not source:
        raise refuse(1, "a formula must not be empty", source, GRAMMAR)
    if len(source) > MAX_LENGTH:
        raise refuse(
            offset + MAX_LENGTH + 1, f"a formula must have at most {MAX_LENGTH:,} characters", len(source), "shorten it"
        )
    if bad := re.search(r"[^ -~]", source):
        rule = "a formula must be one line of ASCII characters"
        raise refuse(
            offset + bad.start() + 1, rule, bad[0], "retype this character (look-alikes and line breaks are refused)"
        )
    depth = 0
    for index, character in enumerate(source):
        depth += (character in "([{") - (character in ")]}")
        if depth > MAX_DEPTH:
            rule = f"brackets must nest at most {MAX_DEPTH} deep"
            raise refuse(offset + index + 1, rule, character, "simplify the formula")
    # The Python parser would recurse on these before any check of ours.
    if bad := re.search(rf"([-+~] *){{{MAX_DEPTH},}}|(not +){{{MAX_DEPTH},}}", source):
        raise refuse(
            offset + bad.start() + 1, f"signs must nest at most {MAX_DEPTH} deep", bad[0], "simplify the formula"
        )


def _tree(source: str, offset: int) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, mode="eval").body
    except SyntaxError as error:
        column = offset + max(1, min(error.offset or 1, len(source)))
        raise refuse(column, "a formula must be well formed", source, f"{GRAMMAR} ({error.msg})") from None
    except (ValueError, MemoryError, RecursionError):
        raise refuse(offset + 1, "a formula must be well formed", source, GRAMMAR) from None


def _check_size(source: str, offset: int, tree: ast.expr) -> None:
    """Refuses too many nodes and too deep nesting; a chain of sums or of products counts as one level."""
    stack: list[tuple[ast.expr, int]] = [(tree, 1)]
    count = 0
    while stack:
        node, depth = stack.pop()
        count += 1
        column, value = offset + node.col_offset + 1, source[node.col_offset : node.end_col_offset]
        if count > MAX_NODES:
            rule = f"a formula must have at most {MAX_NODES} numbers, names and operations"
            raise refuse(column, rule, value, "simplify it")
        if depth > MAX_DEPTH:
            raise refuse(column, f"operations must nest at most {MAX_DEPTH} deep", value, "simplify the formula")
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                stack.append((child, depth + (0 if _same_chain(node, child) else 1)))


def _same_chain(parent: ast.expr, child: ast.expr) -> bool:
    if not (isinstance(parent, ast.BinOp) and isinstance(child, ast.BinOp) and parent.left is child):
        return False
    return any(isinstance(parent.op, chain) and isinstance(child.op, chain) for chain in _CHAINS)
