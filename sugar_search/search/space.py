"""Search spaces: TOML files that say what may be proposed.

A space draws a surrogate by asking a `Chooser` for one named value after another (define by run). The distribution
behind a name never changes, so TPE and random sampling work as they are.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationInfo, field_validator, model_validator

from sugar_search import catalog
from sugar_search.errors import FileError, InputError
from sugar_search.schema import load_schema
from sugar_search.symbolic.family import load as load_family
from sugar_search.symbolic.grammar import Chooser, Constant, Grammar, derive
from sugar_search.symbolic.surrogate import Surrogate, surrogate
from sugar_search.symbolic.text import to_text

__all__ = ["Space", "load_space"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """A parameter's range; `log` makes it log-uniform."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 when log = true, got {self.low}")
        return self


class FamiliesSpace(_Strict):
    """Parametric families: a family first, then its parameters."""

    description: str
    kind: Literal["families"]
    families: dict[str, dict[str, Range]] = Field(min_length=1)
    regions: tuple[Literal["all", "negative"], ...] = ("all",)

    @field_validator("families")
    @classmethod
    def _known(cls, families: dict[str, dict[str, Range]]) -> dict[str, dict[str, Range]]:
        faults = []
        for name, ranges in families.items():
            try:
                allowed = {p.name: p for p in load_family(name).parameters}
            except InputError as error:
                faults.append(str(error))
                continue
            for key, value in ranges.items():
                if key not in allowed:
                    faults.append(f"{name}.{key}: {name} has {', '.join(allowed) or 'no parameters'}")
                elif value.low < allowed[key].low or value.high > allowed[key].high:
                    faults.append(f"{name}.{key}: must lie in [{allowed[key].low}, {allowed[key].high}]")
        if faults:
            raise ValueError("; ".join(faults))
        return families

    def draw(self, choose: Chooser) -> Surrogate:
        """One surrogate.

        Raises:
            FormulaError: the drawn derivative is not admissible.
        """
        name = choose.categorical("family", tuple(self.families))
        drawn = {k: choose.float(f"{name}.{k}", r.low, r.high, r.log) for k, r in self.families[name].items()}
        region = choose.categorical("region", self.regions) if len(self.regions) > 1 else self.regions[0]
        # Four digits make texts short and equal values equal.
        return surrogate(name, region=region, **{k: float(f"{v:.4g}") for k, v in drawn.items()})

    def choices(self, wanted: Surrogate) -> dict[str, Any] | None:
        """The choices that lead to `wanted`, or None when it lies outside the space."""
        ranges = self.families.get(wanted.name)
        if ranges is None or wanted.region not in self.regions:
            return None
        values = dict(wanted.parameters)
        if any(not r.low <= values[k] <= r.high for k, r in ranges.items()):
            return None
        found: dict[str, Any] = {"family": wanted.name} | {f"{wanted.name}.{k}": values[k] for k in ranges}
        if len(self.regions) > 1:
            found["region"] = wanted.region
        return found if self.draw(_Replay(found)) == wanted else None


class GrammarSpace(_Strict):
    """A context-free grammar of derivatives with a bounded depth."""

    description: str
    kind: Literal["grammar"]
    start: str
    max_depth: int = Field(ge=1, le=12)
    rules: dict[str, tuple[str, ...]] = Field(min_length=1)
    constants: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _valid(self) -> "GrammarSpace":
        if faults := self.grammar.faults():
            raise ValueError("; ".join(faults))
        return self

    @cached_property
    def grammar(self) -> Grammar:
        """The grammar this file states."""
        constants = {}
        for name, fields in self.constants.items():
            try:
                constants[name] = Constant(**fields)
            except (TypeError, ValueError) as error:
                raise ValueError(f"constants.{name}: {error}") from None
        return Grammar(self.start, self.max_depth, self.rules, constants)

    def draw(self, choose: Chooser) -> Surrogate:
        """One surrogate; raises `FormulaError` when the derived expression is not admissible."""
        return surrogate(to_text(derive(self.grammar, choose)))

    def choices(self, wanted: Surrogate) -> dict[str, Any] | None:
        """None: an expression is not traced back to its derivation."""
        return None


class MixedSpace(_Strict):
    """Several spaces: one is chosen, then it draws."""

    description: str
    kind: Literal["mixed"]
    spaces: tuple[str, ...] = Field(min_length=2)

    @field_validator("spaces")
    @classmethod
    def _exist(cls, spaces: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in spaces:
            try:
                if isinstance(_parts(name), MixedSpace):
                    raise ValueError(f"{name} is itself a mixed space; name its parts")
            except InputError as error:
                raise ValueError(str(error)) from None
        return spaces

    def draw(self, choose: Chooser) -> Surrogate:
        """One surrogate from the chosen space."""
        return _parts(choose.categorical("space", self.spaces)).draw(choose)

    def choices(self, wanted: Surrogate) -> dict[str, Any] | None:
        """The choices of the first part that holds `wanted`."""
        for name in self.spaces:
            if (found := _parts(name).choices(wanted)) is not None:
                return {"space": name} | found
        return None


AnySpace = FamiliesSpace | GrammarSpace | MixedSpace


class _File(RootModel[Annotated[AnySpace, Field(discriminator="kind")]]):
    """Any space, told apart by its `kind`."""


class _Replay:
    """A chooser that repeats known choices."""

    def __init__(self, choices: Mapping[str, Any]) -> None:
        self.choices = choices

    def categorical(self, name: str, options: tuple[Any, ...]) -> Any:
        return self.choices[name]

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        return float(self.choices[name])


class Space:
    """A named space: what the file says, and a digest that identifies it in a study."""

    def __init__(self, name: str, content: AnySpace) -> None:
        self.name, self.content = name, content
        parts: list[AnySpace] = [content]
        if isinstance(content, MixedSpace):
            parts += [_parts(part) for part in content.spaces]
        text = json.dumps([part.model_dump(mode="json", exclude={"description"}) for part in parts], sort_keys=True)
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]

    def draw(self, choose: Chooser) -> Surrogate:
        """One surrogate.

        Raises:
            FormulaError: what was drawn is not admissible (not finite, unbounded, or zero everywhere).
        """
        return self.content.draw(choose)

    def choices(self, wanted: Surrogate) -> dict[str, Any] | None:
        """The choices that lead to `wanted`, or None; they let a sampler learn from a baseline."""
        return self.content.choices(wanted)


@cache
def _parts(name: str) -> AnySpace:
    return load_schema(catalog.find("spaces")[catalog.resolve("spaces", name)], _File).root


def load_space(name_or_path: str) -> Space:
    """A shipped space by name, or a TOML file by path (anything that ends in .toml).

    Raises:
        UnknownNameError: no shipped space has that name.
        FileError: the file cannot be read or breaks the schema; all faults are listed.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise FileError("--space must be a known name or an existing file", name_or_path, "check the path")
        return Space(path.stem, load_schema(path, _File).root)
    name = catalog.resolve("spaces", name_or_path)
    return Space(name, _parts(name))
