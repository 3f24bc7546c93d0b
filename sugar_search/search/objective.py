"""What a study optimises: names, directions, and how a value is read from the metrics of an epoch."""

from dataclasses import dataclass

from sugar_search.errors import InputError, UnknownNameError

__all__ = ["FUNCTION_OBJECTIVES", "OBJECTIVES", "Objective", "parse_objectives", "read_objectives"]


@dataclass(frozen=True)
class Objective:
    """One objective.

    Attributes:
        name: the word on the command line.
        metric: the field of `training.metrics.Metrics` it reads, measured on the validation split.
        maximise: True when larger is better.
        percent: True when it is shown in percent.
    """

    name: str
    metric: str
    maximise: bool
    percent: bool

    @property
    def direction(self) -> str:
        """Optuna's word for the direction."""
        return "maximize" if self.maximise else "minimize"

    def better(self, a: float, b: float) -> bool:
        """True when `a` beats `b`."""
        return a > b if self.maximise else a < b

    def show(self, value: float | None) -> str:
        """`value` as a person reads it; "-" when there is none."""
        if value is None:
            return "-"
        return f"{100 * value:.2f}%" if self.percent else f"{value:.4g}"


OBJECTIVES = {
    "accuracy": Objective("accuracy", "accuracy", maximise=True, percent=True),
    "loss": Objective("loss", "loss", maximise=False, percent=False),
    "sparsity": Objective("sparsity", "sparsity", maximise=True, percent=True),
}

# What a user's own training function returns (see `search.function`).
FUNCTION_OBJECTIVES = {
    "maximize": Objective("value to maximize", "value", maximise=True, percent=False),
    "minimize": Objective("value to minimize", "value", maximise=False, percent=False),
}


def read_objectives(text: str) -> tuple[Objective, ...]:
    """The objectives of a stored study.

    Raises:
        InputError: the text names none.
    """
    own = [each for each in FUNCTION_OBJECTIVES.values() if each.name == text]
    return tuple(own) or parse_objectives(text)


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Objectives from "loss" or "accuracy,sparsity"; the first ranks, races and names the winner.

    Raises:
        UnknownNameError: a name is not an objective.
        InputError: a name is given twice.
    """
    parts = [part.strip().lower() for part in text.split(",")]
    for part in parts:
        if part not in OBJECTIVES:
            raise UnknownNameError.of("objective", part, OBJECTIVES)
    if len(set(parts)) < len(parts):
        raise InputError("--objective must name each objective once", text, "drop the repeated name")
    return tuple(OBJECTIVES[part] for part in parts)
