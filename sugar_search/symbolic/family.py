"""Surrogate families: one file each in `families/`, found by file, never listed by hand."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sympy import Expr, Rational

from sugar_search import catalog
from sugar_search.errors import FileError, InputError, UnknownNameError, shorten
from sugar_search.symbolic.parse import NAME, parse

__all__ = ["Family", "Parameter", "aliases", "call", "exact", "finite", "instantiate", "is_family", "load", "resolve"]


@dataclass(frozen=True)
class Parameter:
    """One number of a family.

    Attributes:
        name: keyword, such as "alpha".
        symbol: display, such as "α".
        default: value when not given.
        low: smallest accepted value.
        high: largest accepted value.
        doc: one line for the reader.
    """

    name: str
    symbol: str
    default: float
    low: float
    high: float
    doc: str


@dataclass(frozen=True)
class Family:
    """A surrogate known by name.

    Attributes:
        title: display name.
        derivative: formula text of g in x and the parameters.
        activation: formula text of an f with f' = g, or None if it has no closed form here.
        parameters: in display order.
        at_zero: formula text, in the parameters, of g(0).
        source: where it comes from.
        aliases: other names, compared without case, spaces, hyphens and underscores.
    """

    title: str
    derivative: str
    activation: str | None
    parameters: tuple[Parameter, ...]
    at_zero: str
    source: str
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names."""
        return tuple(p.name for p in self.parameters)

    def template(self) -> Expr:
        """The derivative with parameter symbols."""
        return parse(self.derivative, self.names)

    def activation_template(self) -> Expr | None:
        """The activation with parameter symbols."""
        return None if self.activation is None else parse(self.activation, self.names)


@cache
def load(name: str) -> Family:
    """The family called `name`, by its file's name or an alias.

    Raises:
        UnknownNameError: no such family; the message shows the nearest names.
    """
    family: Family = catalog.load_module("surrogates", resolve(name)).FAMILY
    return family


def resolve(name: str) -> str:
    """The file name of the family called `name` ("Swish" gives "silu").

    Raises:
        UnknownNameError: no such family.
    """
    for known in catalog.find("surrogates"):
        if catalog.normal(known) == catalog.normal(name):
            return known
    found = aliases().get(catalog.normal(name))
    if found is None:
        raise UnknownNameError.of("surrogate", name, catalog.find("surrogates"))
    return found


def is_family(name: str) -> bool:
    """Whether `name` is a family or an alias."""
    try:
        resolve(name)
    except UnknownNameError:
        return False
    return True


@cache
def aliases() -> Mapping[str, str]:
    """Every alias and title in normal form, with the family it stands for.

    Raises:
        FileError: two families claim one name.
    """
    taken = {catalog.normal(name): name for name in catalog.find("surrogates")}
    found: dict[str, str] = {}
    for name in catalog.find("surrogates"):
        family: Family = catalog.load_module("surrogates", name).FAMILY
        for alias in {catalog.normal(a) for a in (*family.aliases, family.title)}:
            holder = taken.setdefault(alias, name)
            if holder != name:
                raise FileError("a surrogate's alias must be its own", f"{alias} in {holder} and {name}", "remove one")
            found[alias] = name
    return found


def instantiate(name: str, values: Mapping[str, float]) -> tuple[str, Family, tuple[tuple[str, float], ...]]:
    """The file name, the family, and its full parameters, with `values` in place of defaults.

    Raises:
        UnknownNameError: no such family.
        InputError: an unknown parameter, or a value that is not finite or out of range.
    """
    file_name = resolve(name)
    family = load(file_name)
    for given in values:
        if given not in family.names:
            allowed = ", ".join(family.names) or "no parameters"
            raise InputError(f"a parameter of {family.title} must be known", given, f"it takes {allowed}")
    bound = []
    for parameter in family.parameters:
        value = finite(parameter.name, values.get(parameter.name, parameter.default))
        if not parameter.low <= value <= parameter.high:
            rule = f"{parameter.name} of {family.title} must be between {parameter.low:g} and {parameter.high:g}"
            raise InputError(rule, value, f"the default is {parameter.default:g}")
        bound.append((parameter.name, value))
    return file_name, family, tuple(bound)


def finite(name: str, value: object) -> float:
    """`value` as a finite float.

    Raises:
        InputError: it is not a finite real number.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"parameter {name} must be a number", value, "give a finite number") from None
    if not math.isfinite(number):
        raise InputError(f"parameter {name} must be finite", value, "give a finite number")
    return number


def exact(value: float) -> Rational:
    """The decimal that a float prints as, exactly: 1.67 is 167/100."""
    return Rational(repr(value))


def call(text: str, parameters: Mapping[str, float]) -> tuple[str, dict[str, float]] | None:
    """Family and values if `text` is a family's name or a call with keywords alone; None if it is a formula."""
    match = re.fullmatch(r"\s*([^\W\d][\w -]{0,40}?)\s*(?:\(([^()]*)\))?\s*", text[:400])
    if match is None or len(text) > 400:
        return None
    name, inside = match[1], match[2]
    if not is_family(name):
        word = NAME.fullmatch(name)
        if word and name not in ("x", "e", "pi") and name not in parameters and (inside is None or "=" in inside):
            raise UnknownNameError.of("surrogate", name, catalog.find("surrogates"))
        return None
    if inside is None:
        return name, dict(parameters)
    values = _keywords(name, inside)
    return None if values is None else (name, {**values, **parameters})


def _keywords(name: str, inside: str) -> dict[str, float] | None:
    """The values in "alpha=1.2, ..." (symbols such as α count as names); None if this is a positional call."""
    symbols = {p.symbol: p.name for p in load(name).parameters}
    values: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in inside.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            return None
        try:
            values[symbols.get(key, key)] = float(value)
        except ValueError:
            shown = key if NAME.fullmatch(key) else shorten(key)
            raise InputError(f"parameter {shown} must be a number", value, "write it like alpha=1.2") from None
    return values
