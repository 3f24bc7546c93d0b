"""Search spaces that a grammar of derivatives spans."""

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sugar_search.search.space_table import Number, Replay, SpaceTable, Strict, Whole
from sugar_search.symbolic.grammar.derivation import choices, derive, surrogate_of
from sugar_search.symbolic.grammar.grammar import (
    MAX_MAX_DEPTH,
    MAX_MAX_SIZE,
    MAX_SIZE,
    Chooser,
    Constant,
    Grammar,
    Production,
)
from sugar_search.symbolic.grammar.recognise import recognise
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["ConstantTable", "GrammarSpace", "ProductionTable"]


class ProductionTable(Strict):
    """A production with its weight; plain text in its place has weight 1."""

    formula: str
    weight: Number = 1.0


class ConstantTable(Strict):
    """A constant: a grid, or a range from low to high."""

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    grid: tuple[Number, ...] | None = Field(None, min_length=1)
    parameter: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> "ConstantTable":
        limits = (self.low, self.high)
        if self.grid is None and None in limits:
            raise ValueError("must have low and high, or a grid")
        if self.grid is not None and (limits != (None, None) or self.log):
            raise ValueError("must have either a grid or low, high and log")
        return self

    @property
    def constant(self) -> Constant:
        """The constant as a value."""
        if self.grid is not None:
            return Constant(grid=self.grid, parameter=self.parameter)
        assert self.low is not None and self.high is not None
        return Constant(self.low, self.high, self.log, parameter=self.parameter)


def _table(given: Any) -> Any:
    return {"formula": given} if isinstance(given, str) else given


AnyProduction = Annotated[ProductionTable, BeforeValidator(_table)]


class GrammarSpace(SpaceTable):
    """A context-free grammar of derivatives, bounded in depth and size."""

    kind: Literal["grammar"]
    start: str
    max_depth: Whole = Field(ge=1, le=MAX_MAX_DEPTH)
    max_size: Whole = Field(MAX_SIZE, ge=1, le=MAX_MAX_SIZE)
    sizes: Literal["grammar", "uniform"] = "grammar"
    positive: str | None = None  # "one" or a rule: g for x > 0, while start is g for x <= 0
    rules: dict[str, tuple[AnyProduction, ...]] = Field(min_length=1)
    constants: dict[str, ConstantTable] = Field(default_factory=dict)

    @field_validator("rules", mode="before")
    @classmethod
    def _lists(cls, rules: Any) -> Any:
        for name, productions in rules.items() if isinstance(rules, dict) else ():
            if not isinstance(productions, list | tuple):
                raise ValueError(f"{name} must be a list of productions")
        return rules

    @model_validator(mode="after")
    def _valid(self) -> "GrammarSpace":
        if self.positive not in (None, "one", *self.rules):
            raise ValueError(f"positive must be one or the name of a rule, got {self.positive!r}")
        if faults := self.grammar.faults():
            raise ValueError("; ".join(faults))
        return self

    @cached_property
    def grammar(self) -> Grammar:
        """The grammar this file states."""
        rules = {name: tuple(Production(p.formula, p.weight) for p in each) for name, each in self.rules.items()}
        constants = {name: table.constant for name, table in self.constants.items()}
        grammar = Grammar(self.start, self.max_depth, rules, constants, self.max_size, self.sizes)
        return grammar if self.positive is None else grammar.one_sided(self.positive)

    def draw(self, choose: Chooser) -> Surrogate:
        """One surrogate.

        Raises:
            FormulaError: the derivation is too large, or its derivative is not admissible.
        """
        return surrogate_of(self.grammar, derive(self.grammar, choose))

    def choices(self, wanted: Surrogate) -> dict[str, Any] | None:
        """The choices that lead to `wanted`, or None when no sentence of the grammar is found for it."""
        derivation = recognise(self.grammar, wanted.derivative)
        if derivation is None:
            return None
        found = choices(self.grammar, derivation)
        return found if self.draw(Replay(found)) == wanted else None
