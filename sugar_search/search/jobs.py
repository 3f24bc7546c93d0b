"""What crosses the border between the coordinator and whatever executes runs."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sugar_search.errors import DivergedError
from sugar_search.training.run import EpochRecord, RunSpec

__all__ = ["COMPLETE", "DIED", "FAILED", "STOPPED", "Execution", "Job", "Outcome", "with_device"]

COMPLETE = "complete"
STOPPED = "stopped"
FAILED = "failed"
DIED = "died"


@dataclass(frozen=True)
class Job:
    """One run to execute: its id and all it needs; `test` asks for the test metrics when it is complete."""

    run: str
    spec: RunSpec
    test: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"run": self.run, "spec": self.spec.to_dict(), "test": self.test}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Job":
        """The inverse of `to_dict`."""
        return cls(data["run"], RunSpec.from_dict(data["spec"]), data["test"])


def with_device(job: Job, device: str) -> Job:
    """The same run on another device."""
    return replace(job, spec=replace(job.spec, device=device))


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        state: COMPLETE, STOPPED, FAILED or DIED.
        reason: why, unless complete.
        restart: True when the process that executed it should be replaced (it ran out of memory).
        test: the test metrics of a complete run whose job asked for them.
        diverged: whether it failed because of what it trains, so that it would fail again.
    """

    state: str
    reason: str | None = None
    restart: bool = False
    test: dict[str, Any] | None = None
    diverged: bool = False


class Execution:
    """A run in progress, one epoch at a time: both engines step it alike."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._epochs: Iterator[EpochRecord] | None = None

    def step(self) -> EpochRecord | Outcome:
        """The next epoch's record, or how the run ended. Never raises: a failed run must not end a study."""
        # Imported here: the coordinator uses this module and should not load torch before it must.
        from sugar_search.training.loop import train

        try:
            if self._epochs is None:
                self._epochs = iter(train(self.job.spec))
            record = next(self._epochs, None)
            if record is not None:
                return record
            return self._complete()
        except DivergedError as error:
            return Outcome(FAILED, str(error), diverged=True)
        except Exception as error:
            memory = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
            first = (str(error).splitlines() or [""])[0]
            return Outcome(FAILED, f"{type(error).__name__}: {first}"[:500], restart=memory)

    def _complete(self) -> Outcome:
        """With the test metrics that were asked for. A fault there (memory, say) must not cost the training."""
        from sugar_search.training.loop import evaluate_test

        if not self.job.test:
            return Outcome(COMPLETE)
        try:
            return Outcome(COMPLETE, test=evaluate_test(self.job.spec).to_dict())
        except Exception as error:
            print(f"run {self.job.run}: no test metrics yet: {error}", file=sys.stderr)
            return Outcome(COMPLETE)

    def close(self) -> None:
        """Ends the run early and frees what it holds."""
        if self._epochs is not None and hasattr(self._epochs, "close"):
            self._epochs.close()
        self._epochs = None
