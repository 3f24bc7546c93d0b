"""Recipes: how a network is trained, as a TOML file checked in full before any work."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sugar_search import catalog
from sugar_search.errors import InputError
from sugar_search.schema import load_schema

__all__ = ["Optimizer", "Recipe", "Schedule", "Selection", "Validation", "load_recipe"]

MAX_FAULTS = 30  # shown in one message: more than a recipe has keys


class _Table(BaseModel):
    """A TOML table: unknown keys, NaN, infinities and text in place of numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# TOML and JSON know arrays only, so these two become tuples on reading.
Betas = Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], Field(strict=False)]
Milestones = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)]


class Sgd(_Table):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: float = Field(gt=0, description="peak learning rate, per step, for the mean loss of a batch")
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last update that is kept")
    nesterov: bool = Field(False, description="look-ahead form of momentum; needs momentum > 0")
    weight_decay: float = Field(0.0, ge=0, description="added to the gradient, per unit of weight")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self


class _Adaptive(_Table):
    lr: float = Field(gt=0, description="peak learning rate, per step")
    betas: Betas = Field((0.9, 0.999), description="decay of the two running moments, per step")
    eps: float = Field(1e-8, gt=0, description="added to the root of the second moment")
    weight_decay: float = Field(0.0, ge=0, description="per unit of weight: in the gradient (adam) or times lr (adamw)")


class Adam(_Adaptive):
    """Adam (arXiv 1412.6980)."""

    name: Literal["adam"]


class AdamW(_Adaptive):
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    name: Literal["adamw"]


class Constant(_Table):
    """The peak learning rate throughout."""

    name: Literal["constant"] = "constant"


class MultiStep(_Table):
    """The learning rate times `gamma` after each milestone."""

    name: Literal["multistep"]
    milestones: Milestones = Field(description="finished epochs after which the rate drops")
    gamma: float = Field(0.1, gt=0, le=1, description="factor at each milestone")


class Cosine(_Table):
    """Linear warm-up, then half a cosine down; set anew at each step."""

    name: Literal["cosine"]
    warmup_share: float = Field(0.0, ge=0, lt=1, description="share of all steps spent rising")
    start_ratio: float = Field(0.0, ge=0, le=1, description="first rate over peak rate, where there is a warm-up")
    final_ratio: float = Field(0.0, ge=0, le=1, description="last rate over peak rate")


class OneCycle(_Table):
    """Half a cosine up, half a cosine down; set anew at each step (after arXiv 1708.07120)."""

    name: Literal["one-cycle"]
    warmup_share: float = Field(0.3, ge=0, lt=1, description="share of all steps spent rising")
    start_ratio: float = Field(0.04, ge=0, le=1, description="first rate over peak rate")
    final_ratio: float = Field(1e-4, ge=0, le=1, description="last rate over peak rate")


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="name")]
Schedule = Annotated[Constant | MultiStep | Cosine | OneCycle, Field(discriminator="name")]


class Selection(_Table):
    """Which epoch stands for a run: the last, or the best by a metric of the validation split; it also ranks runs."""

    metric: Literal["loss", "accuracy"] = "loss"
    epoch: Literal["last", "best"] = "last"


class Validation(_Table):
    """Where the validation samples come from: the dataset's own fixed split."""

    split: Literal["fixed"] = "fixed"


class Recipe(_Table):
    """How to train one network, whatever the network and the data."""

    description: str = Field("", description="one line for `sugar-search list recipes`")
    epochs: int = Field(ge=1, description="passes over the training samples")
    batch_size: int = Field(ge=1, description="samples per step")
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

    @property
    def digest(self) -> str:
        """Sha256 of all but the description: equal for recipes that train alike."""
        content = self.model_dump(mode="json", exclude={"description"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_recipe(name_or_path: str | Path, *, epochs: int | None = None) -> Recipe:
    """A recipe of the catalog, or one read from a TOML file.

    Args:
        name_or_path: a name of `sugar-search list recipes`, or a path that ends in ".toml".
        epochs: overrides the recipe's own number.

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
    return recipe if epochs is None else recipe.model_copy(update={"epochs": epochs})
