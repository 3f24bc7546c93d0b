"""Recipes: how a network is trained, as a TOML file checked in full before any work."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from sugar_search import catalog
from sugar_search.errors import InputError, UnknownNameError
from sugar_search.schema import load_schema
from sugar_search.training.recipe_parts import (
    Augment,
    Constant,
    Cosine,
    Ema,
    Mix,
    MultiStep,
    Optimizer,
    Options,
    Schedule,
    Selection,
    Table,
    Validation,
)

__all__ = ["Recipe", "load_recipe"]


class Recipe(Table):
    """How to train one network, whatever the network and the data."""

    description: str = Field("", description="one line for `sugar-search list recipes`")
    epochs: int = Field(ge=1, description="passes over the training samples")
    batch_size: int = Field(ge=1, description="samples per forward pass")
    accumulate: int = Field(1, ge=1, description="forward passes whose gradients make one step")
    drop_last: bool = Field(
        False, description="whether samples that do not fill a step are left out of the epoch (they differ each epoch)"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on CUDA only")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    gradient_clip: float | None = Field(None, gt=0, description="largest L2 norm of all gradients; absent: no limit")
    loss: Literal["auto", "mse-sum"] = Field(
        "auto",
        description="auto: cross-entropy, or mean squared error over samples and outputs; "
        "mse-sum: squared error summed over a batch and its outputs, averaged over batches",
    )
    optimizer: Optimizer
    schedule: Schedule = Constant()
    selection: Selection = Selection()
    validation: Validation = Validation()
    augment: Augment = Augment()
    mix: Mix | None = Field(None, description="absent: samples are not mixed")
    ema: Ema | None = Field(None, description="absent: weights are not averaged")
    arch: dict[str, Options] = Field({}, description="options of architectures, one table [arch.NAME] each")

    @field_validator("arch")
    @classmethod
    def _known(cls, tables: dict[str, Options]) -> dict[str, Options]:
        """The catalog's spelling: a table under a misspelt name would do nothing."""
        try:
            return {catalog.resolve("archs", name): options for name, options in tables.items()}
        except UnknownNameError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _parts_fit(self) -> "Recipe":
        if self.mix and (self.batch_size % 2 or self.loss != "auto"):
            raise ValueError('mix needs an even batch_size and loss = "auto"')
        if isinstance(self.schedule, Cosine | MultiStep) and self.schedule.warmup_epochs >= self.epochs:
            raise ValueError("schedule.warmup_epochs must be below epochs")
        return self

    @property
    def step_size(self) -> int:
        """Samples of one step of the optimizer."""
        return self.batch_size * self.accumulate

    @property
    def digest(self) -> str:
        """Sha256 of all but the description: equal for recipes that train alike.

        A key at its default counts as absent, so that a key added to the schema changes no digest.
        """
        content = self.model_dump(mode="json", exclude={"description"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_recipe(name_or_path: str | Path, *, epochs: int | None = None) -> Recipe:
    """A recipe of the catalog, or one read from a TOML file.

    Args:
        name_or_path: a name of `sugar-search list recipes`, or a path that ends in ".toml".
        epochs: overrides the recipe's own number; a warm-up then takes the same share of the epochs.

    Raises:
        UnknownNameError: there is no recipe of that name.
        FileError: the file cannot be read or breaks the schema; one line names the file and every fault.
        InputError: `epochs` is below 1.
    """
    if epochs is not None and epochs < 1:
        raise InputError("epochs must be 1 or more", epochs, "give a whole number such as 5")
    path = Path(name_or_path)
    if path.suffix.lower() != ".toml":
        path = catalog.find("recipes")[catalog.resolve("recipes", str(name_or_path))]
    recipe = load_schema(path, Recipe)
    if epochs is None or epochs == recipe.epochs:
        return recipe
    schedule = recipe.schedule
    if isinstance(schedule, Cosine | MultiStep):
        warmup = schedule.warmup_epochs * epochs / recipe.epochs
        schedule = schedule.model_copy(update={"warmup_epochs": warmup})
    return recipe.model_copy(update={"epochs": epochs, "schedule": schedule})
