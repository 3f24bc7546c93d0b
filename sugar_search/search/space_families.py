"""Search spaces of parametric families."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sugar_search.errors import InputError
from sugar_search.search.space_table import Number, Replay, SpaceTable, Strict
from sugar_search.symbolic.family import load as load_family
from sugar_search.symbolic.grammar.grammar import Chooser
from sugar_search.symbolic.surrogate import Surrogate, surrogate

__all__ = ["FamiliesSpace", "Range"]


class Range(Strict):
    """A parameter's range; `log` makes it log-uniform."""

    low: Number
    high: Number
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 when log = true, got {self.low}")
        return self


class FamiliesSpace(SpaceTable):
    """Parametric families: a family first, then its parameters."""

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
        return found if self.draw(Replay(found)) == wanted else None
