"""What the tables of every search space share: strict keys, what is admitted, and replayed choices."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sugar_search.symbolic.certificates.admission import MAX_ABS, Admit

__all__ = ["AdmitTable", "Number", "Replay", "SpaceTable", "Strict", "Whole"]


class Strict(BaseModel):
    """A table that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# TOML's true is no number.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]


class AdmitTable(Strict):
    """[admit]: the rules of `Admit` that must be proven of every surrogate the space proposes."""

    max_abs: Number = Field(MAX_ABS, le=MAX_ABS)
    min_negative_mass: Number | None = None
    max_negative_mass: Number | None = None
    min_gain: Number | None = None
    max_gain: Number | None = None
    max_jump: Number | None = None
    max_lipschitz: Number | None = None
    max_sign_changes: Whole | None = None
    vanishing_tails: Literal["none", "negative", "positive", "both"] = "none"

    @model_validator(mode="after")
    def _valid(self) -> "AdmitTable":
        if faults := self.rules.faults():
            raise ValueError("; ".join(faults))
        return self

    @property
    def rules(self) -> Admit:
        """The rules as a value."""
        return Admit(**self.model_dump())


class SpaceTable(Strict):
    """Keys of every kind of space."""

    description: str
    admit: AdmitTable = AdmitTable()


class Replay:
    """A chooser that repeats known choices."""

    def __init__(self, choices: Mapping[str, Any]) -> None:
        self.choices = choices

    def categorical(self, name: str, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        """The choice known by that name."""
        return self.choices[name]

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        """The number known by that name."""
        return float(self.choices[name])
