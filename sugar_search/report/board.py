"""The score so far: best surrogate against ReLU and the paper's best, trials done, time left."""

import time
from dataclasses import dataclass, field
from typing import Any

from sugar_search.search.objective import Objective

__all__ = ["Board", "duration"]


def duration(seconds: float | None) -> str:
    """Seconds as "1h02m", "3m05s" or "12s"; "-" for None."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{left:02}s" if minutes else f"{left}s"


@dataclass
class Board:
    """Follows a study's events.

    Attributes:
        objective: the study's first objective.
        epochs: epochs per run.
        best, relu, paper: (title, value) of the best trial, of ReLU, and of the paper's best other surrogate.
        done: trials that ended; `proposals` of `wanted` proposals were made.
    """

    objective: Objective
    epochs: int = 0
    best: tuple[str, float] | None = None
    relu: tuple[str, float] | None = None
    paper: tuple[str, float] | None = None
    done: int = 0
    proposals: int = 0
    wanted: int | None = None
    _deadline: float | None = None
    _started: float = field(default_factory=time.monotonic)

    def take(self, event: dict[str, Any]) -> None:
        """Takes one event of the coordinator."""
        if event["event"] == "study":
            self.epochs, self.wanted = event["epochs"], event["trials"]
            self._deadline = None if event["seconds"] is None else time.monotonic() + event["seconds"]
            for trial in event["earlier"]:
                self._score(trial["kind"], trial["title"], trial["values"])
        elif event["event"] == "trial":
            self.done += 1
            self._score(event["kind"], event["title"], event["values"])
        self.proposals = event.get("proposals", self.proposals)

    def _score(self, kind: str, title: str, values: list[float]) -> None:
        # A confirmation runs other seeds; mixing it in would compare unlike with unlike.
        if not values or kind == "confirmation":
            return
        new = (title, values[0])
        self.best = self._better(self.best, new)
        if title == "ReLU":
            self.relu = new
        elif kind == "baseline":
            self.paper = self._better(self.paper, new)

    def _better(self, old: tuple[str, float] | None, new: tuple[str, float]) -> tuple[str, float]:
        return new if old is None or self.objective.better(new[1], old[1]) else old

    def show(self, value: float | None) -> str:
        """A value of the first objective as text."""
        return self.objective.show(value)

    def summary(self) -> str:
        """One line: best so far, ReLU, the paper's best, progress, time left."""
        parts = []
        for name, entry in (("best", self.best), ("paper's best", self.paper)):
            if entry:
                parts.append(f"{name} {self.show(entry[1])} {entry[0]}")
        if self.relu:
            parts.append(f"ReLU {self.show(self.relu[1])}")
        parts.append(f"proposals {self.proposals}" + ("" if self.wanted is None else f"/{self.wanted}"))
        parts.append(f"time left {self._left()}")
        return " | ".join(parts)

    def _left(self) -> str:
        if self._deadline is not None:
            return duration(self._deadline - time.monotonic())
        if self.wanted is None or not self.proposals:
            return "-"
        spent = time.monotonic() - self._started
        return "about " + duration(spent / max(1, self.done) * max(0, self.wanted - self.proposals))
