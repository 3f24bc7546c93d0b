"""A surrogate derivative as a value: parsed once, admitted by probing, compared by canonical form."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sympy import Expr, S

from sugar_search.errors import InputError
from sugar_search.symbolic import family as families
from sugar_search.symbolic.canonical import canonical, identifier
from sugar_search.symbolic.checks import (
    MAX_PARAMETERS,
    REGIONS,
    check_parameters,
    check_region,
    check_size,
    check_trainable,
    check_used,
    read_template,
)
from sugar_search.symbolic.functions import X, differentiate, where
from sugar_search.symbolic.idle import idle_parameters
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.tape import Tape
from sugar_search.symbolic.text import to_text

__all__ = ["MAX_PARAMETERS", "REGIONS", "Surrogate", "surrogate"]

FORMULA = "formula"


@dataclass(frozen=True, eq=False)
class Surrogate:
    """One surrogate derivative g(x); build it with `surrogate`.

    Equality and hash follow the canonical form of the bound derivative: two spellings of one function are equal.

    Attributes:
        name: family name, or "formula".
        template: derivative with parameter symbols.
        parameters: names and values.
        activation_template: an f with f' = g, with parameter symbols; None if unknown.
        source: reference or origin.
        region: "all", or "negative": g(x) for x <= 0 and gradient 1 for x > 0.
    """

    name: str
    template: Expr
    parameters: tuple[tuple[str, float], ...] = ()
    activation_template: Expr | None = None
    source: str = "given"
    region: str = "all"

    def _bind(self, template: Expr) -> Expr:
        # Read afresh: sympy's substitution takes minutes on some nested powers, and leaves functions of its own.
        values = {name: families.exact(value) for name, value in self.parameters}
        return parse(to_text(template), values=values) if values else template

    @cached_property
    def derivative(self) -> Expr:
        """g with its parameters' values, in x alone."""
        bound = self._bind(self.template)
        return bound if self.region == "all" else where(X, S.One, bound)

    @cached_property
    def activation(self) -> Expr | None:
        """f with its parameters' values; continuous at 0 when restricted to the negative region."""
        if self.activation_template is None:
            return None
        bound = self._bind(self.activation_template)
        return bound if self.region == "all" else where(X, X + bound.subs(X, 0), bound)

    @cached_property
    def text(self) -> str:
        """Formula text of the bound derivative; `surrogate(s.text) == s`."""
        return to_text(self.derivative)

    @cached_property
    def activation_text(self) -> str | None:
        """Formula text of the bound activation."""
        return None if self.activation is None else to_text(self.activation)

    @cached_property
    def title(self) -> str:
        """For display: "B-SiLU(α=1.67)", or the formula text."""
        if self.name == FORMULA:
            return self.text
        family = families.load(self.name)
        symbols = {p.name: p.symbol for p in family.parameters}
        shown = ", ".join(f"{symbols[name]}={repr(value).removesuffix('.0')}" for name, value in self.parameters)
        title = f"{family.title}({shown})" if shown else family.title
        return title if self.region == "all" else f"{title} for x<=0"

    @cached_property
    def canonical(self) -> str:
        """Canonical form of the bound derivative; equal for equal spellings."""
        return canonical(self.derivative)

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits that name the canonical form."""
        return identifier(self.derivative)

    @cached_property
    def tape(self) -> Tape:
        """The bound derivative as steps."""
        return Tape.of(self.derivative)

    @cached_property
    def activation_tape(self) -> Tape | None:
        """The bound activation as steps."""
        return None if self.activation is None else Tape.of(self.activation)

    @cached_property
    def value_at_zero(self) -> float:
        """g(0)."""
        return float(self.tape.mpmath(0))

    def __eq__(self, other: object) -> bool:
        return self.canonical == other.canonical if isinstance(other, Surrogate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __repr__(self) -> str:
        return f"surrogate({self.text!r})" if self.name == FORMULA else f"<Surrogate {self.title}>"

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        # As text: cached tapes and sympy trees are large, and our functions rebuild from their names.
        return Surrogate.from_dict, (self.to_dict(),)

    def __copy__(self) -> "Surrogate":
        return self

    def __deepcopy__(self, memo: object) -> "Surrogate":
        return self

    def restricted(self, region: str) -> "Surrogate":
        """The same surrogate on another region.

        Raises:
            InputError: the region is unknown.
        """
        return replace(self, region=check_region(region))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; `from_dict` is the inverse."""
        activation = None if self.activation_template is None else to_text(self.activation_template)
        return {
            "name": self.name,
            "formula": to_text(self.template),
            "parameters": dict(self.parameters),
            "activation": activation,
            "region": self.region,
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Surrogate":
        """The surrogate that `to_dict` wrote.

        Raises:
            InputError: a key is missing or unknown, or a value breaks a rule.
        """
        keys = ("name", "formula", "parameters", "activation", "region", "source")
        if not isinstance(data, Mapping) or set(data) != set(keys):
            given = sorted(map(str, data)) if isinstance(data, Mapping) else data
            raise InputError("a stored surrogate must have the keys " + ", ".join(keys), given, "store it with to_dict")
        name, source, activation = data["name"], data["source"], data["activation"]
        if not isinstance(name, str) or not isinstance(source, str) or not isinstance(data["parameters"], Mapping):
            raise InputError(
                "a stored surrogate's name, source and parameters must be text, text and a table",
                dict(data),
                "store it with to_dict",
            )
        values = check_parameters(data["parameters"])
        template = read_template(data["formula"], values)
        antiderivative = None if activation is None else read_template(activation, values)
        if not _is_of_family(name, template, values):
            name = FORMULA  # a family that has changed or gone since: the stored formula counts
        return _admitted(
            cls(name, template, tuple(values.items()), antiderivative, source, check_region(data["region"]))
        )


def surrogate(
    text_or_family: "str | Surrogate | None" = None,
    *,
    activation: str | None = None,
    region: str = "all",
    **parameters: float,
) -> Surrogate:
    """A surrogate from a family, from a derivative's formula, or from an activation's formula.

    Args:
        text_or_family: a family ("bsilu", "NeLU(alpha=0.05)"), a derivative ("sigmoid(x)*(1 + x)"), or a surrogate.
        activation: an activation's formula, differentiated; instead of `text_or_family`.
        region: "all", or "negative" for gradient 1 at x > 0.
        **parameters: values of the family's parameters, or of the names in the formula.

    Raises:
        FormulaError: the text is no formula, or its derivative is not finite and bounded, or 0 everywhere.
        UnknownNameError: no such family.
        InputError: a parameter or the region breaks a rule.
    """
    if (text_or_family is None) == (activation is None):
        raise InputError(
            "a surrogate must come from one formula", text_or_family, "give a derivative, a family or activation=..."
        )
    if isinstance(text_or_family, Surrogate):
        return _again(text_or_family, region, parameters)
    if activation is not None:
        return _from_activation(activation, check_region(region), check_parameters(parameters))
    if not isinstance(text_or_family, str):
        raise InputError("a surrogate must be given as text", text_or_family, "give a family's name or a formula")
    named = families.call(text_or_family, parameters)
    if named is not None:
        name, values = named
        return _from_family(name, check_region(region), values)
    values = check_parameters(parameters)
    template = read_template(text_or_family, values)
    check_used(values, text_or_family)
    made = Surrogate(FORMULA, template, tuple(values.items()), None, "formula", check_region(region))
    return _admitted(_without_idle(made))


def _is_of_family(name: str, template: Expr, values: Mapping[str, float]) -> bool:
    if name == FORMULA or not families.is_family(name):
        return False
    family = families.load(name)
    return set(family.names) == set(values) and family.template() == template


def _again(given: Surrogate, region: str, parameters: Mapping[str, float]) -> Surrogate:
    if parameters:
        raise InputError(
            "a surrogate's parameters must be set when it is built", dict(parameters), "give its name or formula"
        )
    return given if region == "all" else given.restricted(region)


def _without_idle(made: Surrogate) -> Surrogate:
    """`made` without the parameters that do nothing: 0*a, or one that acts for x > 0 alone where that is cut off."""
    if not made.parameters:
        return made
    values = dict(made.parameters)
    whole = made.template if made.region == "all" else where(X, S.One, made.template)
    idle = idle_parameters(whole, values)
    if not idle:
        return made
    kept = {name: value for name, value in values.items() if name not in idle}
    bound = {name: families.exact(values[name]) for name in idle}
    activation = made.activation_template
    return replace(
        made,
        template=parse(to_text(made.template), kept, values=bound),
        activation_template=None if activation is None else parse(to_text(activation), kept, values=bound),
        parameters=tuple(kept.items()),
    )


def _from_family(name: str, region: str, values: Mapping[str, float]) -> Surrogate:
    file_name, family, bound = families.instantiate(name, values)
    return Surrogate(file_name, family.template(), bound, family.activation_template(), family.source, region)


def _from_activation(text: str, region: str, values: dict[str, float]) -> Surrogate:
    template = read_template(text, values)
    check_used(values, text)
    derivative = differentiate(template)
    made = Surrogate(FORMULA, derivative, tuple(values.items()), template, "derivative of an activation", region)
    return _admitted(_without_idle(made))


def _admitted(made: Surrogate) -> Surrogate:
    """`made`, if it can train.

    Raises:
        FormulaError: its derivative is unbounded, not real somewhere, 0 everywhere, or too long to be stored as text.
    """
    check_size(made.text, to_text(made.template), dict(made.parameters))
    check_trainable(made.text, made.tape)
    return made
