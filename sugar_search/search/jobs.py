"""What crosses the border between the coordinator and whatever executes runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sugar_search.training.run import RunSpec

__all__ = ["COMPLETE", "DIED", "FAILED", "STOPPED", "Job", "Outcome", "with_device"]

COMPLETE = "complete"
STOPPED = "stopped"
FAILED = "failed"
DIED = "died"


@dataclass(frozen=True)
class Job:
    """One run to execute.

    Attributes:
        run: its id.
        spec: all it needs.
        test: asks for the test metrics when it is complete.
    """

    run: str
    spec: RunSpec
    test: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {**vars(self), "spec": self.spec.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Job":
        """The inverse of `to_dict`."""
        return cls(**{**data, "spec": RunSpec.from_dict(data["spec"])})


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
        shared: whether it died together with others, so that another may have been the cause.
    """

    state: str
    reason: str | None = None
    restart: bool = False
    test: dict[str, Any] | None = None
    diverged: bool = False
    shared: bool = False
