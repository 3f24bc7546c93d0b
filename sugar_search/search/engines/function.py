"""Executes the user's own training function in this process, one run after the other."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from sugar_search.activation.module import SugarReLU
from sugar_search.errors import DivergedError
from sugar_search.search.coordinator import Coordinator
from sugar_search.search.jobs import COMPLETE, FAILED, STOPPED, Outcome
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["FunctionRun", "TrainFunction", "run_function"]


@dataclass(frozen=True)
class _Value:
    """What a training function returns or reports, in the place of a network's metrics."""

    value: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Report:
    """An epoch of a training function, with the fields of `training.run.EpochRecord`."""

    epoch: int
    validation: _Value
    seconds: float
    train_loss: float | None = None
    lr: float | None = None
    images_per_second: float = 0.0
    peak_memory: int | None = None


class _Stop(BaseException):
    """Ends a training function at its `run.report`; not an Exception, so that its own handlers let it pass."""


@dataclass
class FunctionRun:
    """What a training function is told of its run.

    Attributes:
        seed: to be used for whatever it draws; the global generators of torch, numpy and random are seeded with it.
        surrogate: what `make_activation` builds.
    """

    seed: int
    surrogate: Surrogate
    _take: Callable[[float], bool]
    _stopped: bool = False

    def report(self, value: float) -> None:
        """Tells the score after an epoch; the function ends here when the run is worse than half of its peers.

        Raises:
            DivergedError: the score is NaN or infinite.
        """
        # Once stopped, always stopped: the function may have swallowed the first exception.
        self._stopped = self._stopped or not self._take(_number(value))
        if self._stopped:
            raise _Stop


TrainFunction = Callable[[Callable[..., SugarReLU], FunctionRun], float]


def run_function(coordinator: Coordinator, train_fn: TrainFunction) -> None:
    """Executes the coordinator's runs by calling `train_fn` until the study is done."""
    while not coordinator.done:
        if (job := coordinator.next_job()) is None:
            continue
        assert job.spec.surrogate is not None
        surrogate = Surrogate.from_dict(job.spec.surrogate)
        _seed(job.spec.seed)
        began = time.perf_counter()
        reports: list[_Report] = []

        def take(value: float, run: str = job.run, reports: list[_Report] = reports, began: float = began) -> bool:
            spent = time.perf_counter() - began - sum(each.seconds for each in reports)
            if not math.isfinite(value):
                raise DivergedError(len(reports) + 1, f"the function's score is {value}")
            reports.append(_Report(len(reports) + 1, _Value(value), spent))
            return coordinator.on_epoch(run, reports[-1])  # type: ignore[arg-type]

        run = FunctionRun(job.spec.seed, surrogate, take)
        try:
            value = train_fn(partial(SugarReLU, surrogate), run)
            if not run._stopped:
                # What it returns is the run's result, as one more epoch: the recipe of a function selects the last one.
                take(_number(value))
            outcome = Outcome(STOPPED if run._stopped else COMPLETE)
        except _Stop:
            outcome = Outcome(STOPPED)
        except DivergedError as error:
            outcome = Outcome(FAILED, str(error), diverged=True)
        except (Exception, SystemExit) as error:
            first = (str(error).splitlines() or [""])[0]
            outcome = Outcome(FAILED, f"{type(error).__name__}: {first}"[:500])
        coordinator.on_end(job.run, outcome)


def _number(value: Any) -> float:
    """A float, also of a tensor that takes part in a graph."""
    return float(value.detach() if isinstance(value, torch.Tensor) else value)


def _seed(seed: int) -> None:
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
