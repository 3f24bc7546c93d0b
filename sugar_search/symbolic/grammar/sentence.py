"""Sentences of a grammar as trees: their size and depth, and the formula, expression and surrogate they stand for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sympy import Expr

from sugar_search.symbolic.grammar.grammar import Grammar
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.surrogate import MAX_PARAMETERS, Surrogate, surrogate

__all__ = ["Derivation", "Node", "depth", "expression", "formula", "is_sentence", "size", "surrogate_of"]

_PARAMETER_NAME = 28  # characters, which leaves room for a number within the limit on names


@dataclass(frozen=True)
class Derivation:
    """A rule, the index of its production, and one derivation or number for each child of that production."""

    rule: str
    index: int
    children: tuple["Derivation | float", ...] = ()


Node = Derivation | float


def size(grammar: Grammar, derivation: Derivation | float) -> int:
    """Names, numbers and operations of its formula; each constant counts as one, a negative one too."""
    if not isinstance(derivation, Derivation):
        return 1
    cost = grammar.rules[derivation.rule][derivation.index].cost
    return cost + sum(size(grammar, child) for child in derivation.children)


def depth(derivation: Derivation | float) -> int:
    """Nested productions."""
    if not isinstance(derivation, Derivation):
        return 0
    return 1 + max(map(depth, derivation.children), default=0)


def is_sentence(grammar: Grammar, derivation: Derivation) -> bool:
    """Whether the grammar derives it, within all limits."""
    ends = derivation.rule == grammar.start and _is_derived(grammar, derivation, grammar.start)
    return ends and depth(derivation) <= grammar.max_depth and size(grammar, derivation) <= grammar.max_size


def _is_derived(grammar: Grammar, node: Derivation | float, name: str) -> bool:
    if name in grammar.constants:
        return isinstance(node, float) and grammar.constants[name].holds(node)
    if not isinstance(node, Derivation) or node.rule != name or not 0 <= node.index < len(grammar.rules[name]):
        return False
    names = grammar.rules[name][node.index].children
    pairs = zip(node.children, names)
    return len(names) == len(node.children) and all(_is_derived(grammar, child, below) for child, below in pairs)


def formula(grammar: Grammar, derivation: Derivation) -> str:
    """Its text, as the productions write it."""
    return _text(grammar, derivation, lambda name, value: _literal(value))[0]


def expression(grammar: Grammar, derivation: Derivation) -> Expr:
    """Its expression in x.

    Raises:
        FormulaError: it cancels into what is no formula (a division by 0, too large a constant).
    """
    return parse(formula(grammar, derivation))


def surrogate_of(grammar: Grammar, derivation: Derivation) -> Surrogate:
    """The surrogate that it stands for; constants with `parameter` keep a name, such as alpha, alpha_2, ...

    Raises:
        FormulaError: as for `expression`, or the derivative is not admissible.
    """
    dropped: set[str] = set()
    while True:
        values: dict[str, float] = {}
        text = _text(grammar, derivation, _namer(grammar, values, dropped))[0]
        kept = {str(symbol) for symbol in parse(text, values).free_symbols} if values else set()
        # A parameter that cancels out is written as a number, as is every one beyond the limit.
        gone = (values.keys() - kept) | set(list(values)[MAX_PARAMETERS:])
        if not gone:
            return surrogate(text, **values)  # type: ignore[arg-type]  # no parameter is called region
        dropped |= gone


def _namer(grammar: Grammar, values: dict[str, float], dropped: set[str]) -> Callable[[str, float], str]:
    """Writes a parameter as a name, noted with its value in `values`, and every other constant as a number."""
    used: set[str] = set()

    def write(name: str, value: float) -> str:
        if not grammar.constants[name].parameter:
            return _literal(value)
        short = name[:_PARAMETER_NAME]
        key = next(key for key in _numbered(short) if key not in used)
        used.add(key)
        if key in dropped:
            return _literal(value)
        values[key] = value
        return key

    return write


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _literal(value: float) -> str:
    return repr(value).removesuffix(".0")


def _text(grammar: Grammar, node: Derivation, write: Callable[[str, float], str]) -> tuple[str, bool]:
    """The text of a node, and whether it needs no brackets."""
    production = grammar.rules[node.rule][node.index]
    texts, atoms = [], []
    for name, child in zip(production.children, node.children):
        if isinstance(child, Derivation):
            text, atom = _text(grammar, child, write)
        else:
            text = write(name, child)
            atom = not text.startswith("-")
        texts.append(text)
        atoms.append(atom)
    # Text that is one child alone is as tight as that child.
    alone = production.formula.strip() in production.children
    return production.filled(texts, atoms), atoms[0] if alone else production.is_atom
