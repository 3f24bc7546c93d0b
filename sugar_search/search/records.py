"""What a study remembers, as plain data: runs and trials. The storage holds the same as JSON."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sugar_search.symbolic.surrogate import Surrogate

__all__ = [
    "BASELINE",
    "CONFIRMATION",
    "PROPOSAL",
    "Candidate",
    "RunRecord",
    "TrialRecord",
    "candidates",
    "mean_std",
    "missing_seeds",
    "run_seconds",
    "title_of",
]

# The kinds of trial.
BASELINE = "baseline"
PROPOSAL = "proposal"
CONFIRMATION = "confirmation"


@dataclass(frozen=True)
class RunRecord:
    """One training that has ended: surrogate x seed x epochs.

    Attributes:
        run: id, unique in the study: "<surrogate id>-s<seed>".
        seed: seed of initialisation and data order.
        state: "complete", "stopped" (by racing), "failed" (diverged or an error) or "died" (its worker died).
        epochs: epochs finished.
        values: objective values at the selected epoch (the last one when stopped), in the study's order.
        scores: first objective after each epoch.
        metrics: validation metrics at the selected epoch (loss, accuracy, sparsity, dead) and train_loss.
        seconds: wall seconds of all epochs; `seconds_per_epoch` their mean; `images_per_second` during training.
        reason: why it did not complete, or None.
        peak_memory: the most memory any epoch needed, in bytes: of the GPU on CUDA, else of the process.
        diverged: whether it failed because of what it trains: it would fail again.
    """

    run: str
    seed: int
    state: str
    epochs: int = 0
    values: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    seconds_per_epoch: float = 0.0
    images_per_second: float = 0.0
    reason: str | None = None
    peak_memory: int | None = None
    diverged: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RunRecord":
        """The inverse of `to_dict`."""
        values = dict(data)
        for key in ("values", "scores"):
            values[key] = tuple(values.get(key, ()))
        return cls(**values)


@dataclass
class TrialRecord:
    """One Optuna trial: a surrogate whose runs over `seeds` are decided one by one.

    Attributes:
        number: Optuna's trial number.
        kind: BASELINE, PROPOSAL or CONFIRMATION.
        state: Optuna's word: WAITING, RUNNING, COMPLETE, PRUNED or FAIL.
        surrogate: what is trained.
        seeds: planned seeds, in order.
        runs: ended runs by seed.
        deaths: runs lost because their worker died, in order; each is tried once more.
        values: objective values of a COMPLETE trial (mean over its runs).
        reason: why the trial ended as it did, when that needs saying.
        sugar: False where the surrogate's own activation runs forward too.
    """

    number: int
    kind: str
    state: str
    surrogate: Surrogate
    seeds: tuple[int, ...]
    runs: dict[int, RunRecord] = field(default_factory=dict)
    deaths: list[RunRecord] = field(default_factory=list)
    values: tuple[float, ...] = ()
    reason: str | None = None
    sugar: bool = True

    @property
    def title(self) -> str:
        """What people call the trained network's activation."""
        return title_of(self.surrogate, self.sugar)

    @property
    def key(self) -> tuple[str, bool]:
        """What is trained: equal for trials that train alike."""
        return self.surrogate.canonical, self.sugar

    @property
    def undecided(self) -> tuple[int, ...]:
        """Planned seeds whose run has not ended."""
        return tuple(seed for seed in self.seeds if seed not in self.runs)

    def run(self, seed: int) -> str:
        """The id of the run with `seed`: the surrogate's id and the seed."""
        return f"{self.surrogate.id}-s{seed}" if self.sugar else f"{self.surrogate.id}-plain-s{seed}"

    @property
    def ended(self) -> bool:
        """True when Optuna will accept no change any more."""
        return self.state in ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class Candidate:
    """Everything known of one surrogate, over all of its trials.

    Attributes:
        surrogate: the surrogate.
        kinds: kinds of its trials.
        trials: numbers of its trials, in order.
        runs: complete runs by seed.
        fresh: seeds that belong to a confirmation.
        short: True when it left the race before all of its planned seeds ran.
        seen: True when any validation score of it was looked at.
        state: state of its first trial.
        reason: the first trial's reason.
        sugar: False where the surrogate's own activation runs forward too.
    """

    surrogate: Surrogate
    kinds: tuple[str, ...]
    trials: tuple[int, ...]
    runs: Mapping[int, RunRecord]
    fresh: tuple[int, ...]
    short: bool
    seen: bool
    state: str
    reason: str | None
    sugar: bool = True

    @property
    def title(self) -> str:
        """What people call the trained network's activation."""
        return title_of(self.surrogate, self.sugar)

    def scores(self, *, fresh: bool | None = None) -> dict[int, float]:
        """First objective by seed; `fresh` keeps only (True) or leaves out (False) the confirmation's seeds."""
        return {s: r.values[0] for s, r in self.runs.items() if fresh is None or (s in self.fresh) == fresh}

    def score(self) -> float | None:
        """Mean of the first objective over the search's seeds: what ranks candidates."""
        return mean_std(self.scores(fresh=False).values())[0]


def title_of(surrogate: Surrogate, sugar: bool) -> str:
    """The surrogate's title, marked where it is the activation itself (the paper's word is "non-SUGAR")."""
    return surrogate.title if sugar else f"{surrogate.title}, non-SUGAR"


def mean_std(values: Iterable[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; None where there are too few values."""
    data = list(values)
    if not data:
        return None, None
    mean = math.fsum(data) / len(data)
    if len(data) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in data) / (len(data) - 1))


def candidates(trials: Iterable[TrialRecord]) -> list[Candidate]:
    """Trials grouped by what they train (canonical form, SUGAR or not), in order of their first trial."""
    groups: dict[tuple[str, bool], list[TrialRecord]] = {}
    for trial in sorted(trials, key=lambda t: t.number):
        groups.setdefault(trial.key, []).append(trial)
    found = []
    for group in groups.values():
        runs = {seed: run for t in group for seed, run in t.runs.items() if run.state == "complete"}
        fresh = tuple(seed for t in group if t.kind == CONFIRMATION for seed in t.seeds)
        first = _standing(group)
        kinds = tuple(dict.fromkeys(t.kind for t in group))
        numbers = tuple(t.number for t in group)
        short = any(t.ended and t.undecided for t in group)
        seen = any(run.scores for t in group for run in t.runs.values())
        state, reason = first.state, first.reason
        found.append(Candidate(first.surrogate, kinds, numbers, runs, fresh, short, seen, state, reason, first.sugar))
    return found


def _standing(group: list[TrialRecord]) -> TrialRecord:
    """The trial that speaks for a surrogate: the first, unless it failed by accident and a later one did its runs."""
    for trial in group:
        failed = {seed for seed, run in trial.runs.items() if run.state == "failed" and not run.diverged}
        again = {seed for t in group if t is not trial for seed, run in t.runs.items() if run.state == "complete"}
        if trial.state != "FAIL" or not failed or not failed <= again:
            return trial
    return group[0]


def missing_seeds(trials: Sequence[TrialRecord], key: tuple[str, bool], seeds: Iterable[int]) -> tuple[int, ...]:
    """The seeds that no trial with this key has ended or will run: a (surrogate, seed) pair is trained once.

    A run that racing stopped does not count: it has no result, and a baseline or a finalist needs one. Nor does one
    that failed by accident (no memory, a full disk): the next sitting tries it again.
    """
    held = set()
    for trial in (t for t in trials if t.key == key):
        held |= {s for s, r in trial.runs.items() if r.state != "stopped" and (r.state != "failed" or r.diverged)}
        held |= set() if trial.ended else set(trial.seeds)
    return tuple(seed for seed in seeds if seed not in held)


def run_seconds(trials: Sequence[TrialRecord]) -> float:
    """What a whole run takes: the median of those that completed, 0 before the first."""
    times = sorted(r.seconds for t in trials for r in t.runs.values() if r.state == "complete")
    return times[len(times) // 2] if times else 0.0
