"""The tables of a recipe file: optimizer, schedule, selection, validation, augmentation, mixing, weight averaging.

Every key says in its description what it means and in which unit, so that `sugar-search list recipes --verbose` and a
schema error can say it too.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

__all__ = [
    "Adam",
    "AdamW",
    "Augment",
    "Constant",
    "Cosine",
    "Ema",
    "Mix",
    "MultiStep",
    "OneCycle",
    "Optimizer",
    "Options",
    "Schedule",
    "Selection",
    "Sgd",
    "Table",
    "Validation",
]


class Table(BaseModel):
    """A TOML table: unknown keys, NaN, infinities and text in place of numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _option(value: Any) -> Any:
    """One check for four types: a union of them would tell four faults for one wrong value."""
    if isinstance(value, (bool, int, str)) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    raise ValueError(f"must be true, false, a finite number or text, not {value!r}")


def _seed(value: Any) -> Any:
    if value == "run" or (type(value) is int and 0 <= value < 2**63):
        return value
    raise ValueError(f'must be "run" or a whole number from 0, not {value!r}')


# TOML and JSON know arrays only, so these two become tuples on reading.
Betas = Annotated[tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]], Field(strict=False)]
Milestones = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False, min_length=1)]
Options = dict[str, Annotated[bool | int | float | str, PlainValidator(_option)]]
Seed = Annotated[Literal["run"] | int, PlainValidator(_seed)]


class _Optimizer(Table):
    lr: float = Field(gt=0, description="peak learning rate, per step, for the mean loss of a step's samples")
    lr_reference_batch: int | None = Field(
        None,
        ge=1,
        description="samples: all rates are multiplied by batch_size * accumulate over this; absent: taken as given",
    )
    decay_one_dimensional: bool = Field(
        True, description="whether weight decay acts on biases, other tensors of one dimension and position tables too"
    )


class Sgd(_Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last update that is kept")
    nesterov: bool = Field(False, description="look-ahead form of momentum; needs momentum > 0")
    weight_decay: float = Field(0.0, ge=0, description="added to the gradient, per unit of weight")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self


class _Adaptive(_Optimizer):
    betas: Betas = Field((0.9, 0.999), description="decay of the two running moments, per step")
    eps: float = Field(1e-8, gt=0, description="added to the root of the second moment")
    weight_decay: float = Field(0.0, ge=0, description="per unit of weight: in the gradient (adam) or times lr (adamw)")


class Adam(_Adaptive):
    """Adam (arXiv 1412.6980)."""

    name: Literal["adam"]


class AdamW(_Adaptive):
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    name: Literal["adamw"]


class Constant(Table):
    """The peak learning rate throughout."""

    name: Literal["constant"] = "constant"


class _WarmUp(Table):
    warmup_epochs: float = Field(0.0, ge=0, description="epochs spent rising in a straight line from warmup_lr to lr")
    warmup_lr: float = Field(0.0, ge=0, description="learning rate of the first step, where there is a warm-up")


class MultiStep(_WarmUp):
    """The learning rate times `gamma` after each milestone, after a linear warm-up if there is one."""

    name: Literal["multistep"]
    milestones: Milestones = Field(description="finished epochs after which the rate drops")
    gamma: float = Field(0.1, gt=0, le=1, description="factor at each milestone")


class Cosine(_WarmUp):
    """Linear warm-up, then half a cosine down, as timm's CosineLRScheduler gives it.

    The cosine would reach `final_lr` one step (or epoch) after the last.
    """

    name: Literal["cosine"]
    final_lr: float = Field(0.0, ge=0, description="learning rate that the cosine falls to, per step")
    warmup_prefix: bool = Field(
        False, description="true: the cosine spans the epochs after the warm-up; false: all epochs"
    )
    every: Literal["step", "epoch"] = Field("step", description="when the rate is set anew")


class OneCycle(Table):
    """Half a cosine up, half a cosine down; set anew at each step (after arXiv 1708.07120)."""

    name: Literal["one-cycle"]
    warmup_share: float = Field(0.3, ge=0, lt=1, description="share of all steps spent rising")
    start_ratio: float = Field(0.04, ge=0, le=1, description="first rate over peak rate")
    final_ratio: float = Field(1e-4, ge=0, le=1, description="last rate over peak rate")


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="name")]
Schedule = Annotated[Constant | MultiStep | Cosine | OneCycle, Field(discriminator="name")]


class Selection(Table):
    """Which epoch stands for a run; the metric also ranks runs."""

    metric: Literal["loss", "accuracy"] = Field("loss", description="of the validation samples")
    epoch: Literal["last", "best"] = Field("last", description="epoch whose weights are kept")


class Validation(Table):
    """Where the validation samples come from."""

    split: Literal["fixed", "share", "auto", "test"] = Field(
        "fixed",
        description="fixed: the dataset's own split; share: cut out of the training samples at random; "
        "auto: fixed where the dataset has a split of its own, else share; "
        "test: the test samples, for a paper that chose by them",
    )
    share: float | None = Field(
        None, gt=0, le=0.5, description='share of the training samples, with split = "share" or "auto"'
    )
    seed: Seed = Field("run", description='of the random cut: a whole number, or "run" for each run\'s own seed')

    @model_validator(mode="after")
    def _share_belongs_to_its_split(self) -> "Validation":
        cuts = self.split in ("share", "auto")
        if cuts and self.share is None:
            raise ValueError(f'split = "{self.split}" needs share, such as 0.1')
        if not cuts and self.share is not None:
            raise ValueError(f'share needs split = "share" or "auto", not "{self.split}"')
        return self


class Augment(Table):
    """What is done to images, by torchvision's and timm's transforms; without the table they are only normalised."""

    resize: int | None = Field(None, ge=1, description="pixels: side of the square the network sees; absent: unchanged")
    evaluate_crop: float = Field(
        1.0, gt=0, le=1, description="in evaluation, share of the resized side that a centre crop of `resize` keeps"
    )
    crop: Literal["none", "padded", "random-resized"] = Field(
        "none",
        description="padded: a random window of the image with a black border; "
        "random-resized: a random part of 8 to 100 % of the area, resized",
    )
    padding: int = Field(4, ge=1, description='pixels of border on each side, with crop = "padded"')
    flip: float = Field(0.0, ge=0, le=1, description="probability of a left-right flip")
    auto_augment: str | None = Field(
        None,
        pattern=r"^(rand|augmix|original|originalr|v0|v0r|3a)(-[a-z]+\d[\w.]*)*$",
        description='policy as timm writes it, such as "rand-m9-mstd0.5-inc1"; absent: none',
    )
    color_jitter: float | None = Field(
        None, ge=0, description="largest relative change of brightness, contrast and saturation; absent: none"
    )
    color_jitter_forced: bool = Field(
        False, description="whether color_jitter acts beside auto_augment too, where timm leaves it out"
    )
    erase_probability: float = Field(0.0, ge=0, le=1, description="probability that parts of an image are erased")
    erase_mode: Literal["const", "rand", "pixel"] = Field(
        "const", description="filled with the mean, one random colour, or random pixels"
    )
    erase_count: int = Field(1, ge=1, description="largest number of erased parts")
    interpolation: Literal["bilinear", "bicubic"] = Field("bicubic", description="of all resizing and turning")
    normalize: Literal["dataset", "imagenet"] = Field(
        "dataset", description="whose mean and standard deviation per channel are subtracted and divided by"
    )

    @model_validator(mode="after")
    def _evaluation_crops_what_was_resized(self) -> "Augment":
        if self.evaluate_crop < 1 and self.resize is None:
            raise ValueError("evaluate_crop needs resize")
        return self

    @property
    def by_image(self) -> bool:
        """Whether images are changed one by one with PIL, rather than a batch at a time on the device."""
        return bool(
            self.crop == "random-resized" or self.auto_augment or self.color_jitter or self.erase_probability > 0
        )

    def seen(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one sample as the network sees it, of a sample of `shape` (channels, height, width)."""
        return shape if self.resize is None else (shape[0], self.resize, self.resize)


class Mix(Table):
    """Mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899) as timm's Mixup does them."""

    mixup_alpha: float = Field(0.0, ge=0, description="both parameters of mixup's beta distribution; 0: no mixup")
    cutmix_alpha: float = Field(0.0, ge=0, description="both parameters of cutmix's beta distribution; 0: no cutmix")
    switch_probability: float = Field(0.5, ge=0, le=1, description="probability of cutmix where both are on")
    probability: float = Field(1.0, ge=0, le=1, description="probability that a batch or pair is mixed at all")
    mode: Literal["batch", "pair", "elem"] = Field("batch", description="what one draw is for")

    @model_validator(mode="after")
    def _mixes(self) -> "Mix":
        if not self.mixup_alpha and not self.cutmix_alpha:
            raise ValueError("needs mixup_alpha or cutmix_alpha above 0")
        return self


class Ema(Table):
    """Exponential moving average of weights and buffers, which is evaluated and saved in place of the last weights."""

    decay: float = Field(gt=0, lt=1, description="share of the average that is kept, per step")
