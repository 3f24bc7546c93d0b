"""Decides what runs next and what every result means. The only writer of the study.

An engine asks for jobs, passes on each epoch and each end, and knows nothing of trials, seeds or objectives. Both
engines drive the same coordinator, so the same rules hold wherever its runs execute.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sugar_search.search.agenda import Agenda
from sugar_search.search.interrupt import shielded
from sugar_search.search.jobs import COMPLETE, DIED, FAILED, STOPPED, Job, Outcome
from sugar_search.search.plan import Plan
from sugar_search.search.planner import Planner
from sugar_search.search.racing import goes_on, in_better_half, rungs, scores_at
from sugar_search.search.records import PROPOSAL, TrialRecord, mean_std
from sugar_search.search.results import metrics_of, run_record, run_spec, values_of
from sugar_search.search.sampler import Proposer
from sugar_search.search.store import Store
from sugar_search.training.run import EpochRecord

__all__ = ["Coordinator", "Emit"]

Emit = Callable[[dict[str, Any]], None]


@dataclass
class _Live:
    """A run that executes now."""

    trial: TrialRecord
    seed: int
    epochs: list[EpochRecord] = field(default_factory=list)


class Coordinator:
    """The state of one sitting.

    Args:
        plan: what to do.
        store: the study, open and held.
        proposer: where new surrogates come from.
        emit: receives one dictionary per event (see `report.live`).
        clock: seconds, monotonic.
        together: how many small runs an engine executes in one batch; proposals come in rounds of as many.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        proposer: Proposer,
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
        together: int = 1,
    ) -> None:
        self.plan, self.store, self.proposer, self.emit = plan, store, proposer, emit
        self.rungs = rungs(plan.recipe.epochs)
        self.live: dict[str, _Live] = {}
        self.trials = store.trials()
        self.agenda = Agenda(plan, self.trials, clock, together, store.get("suspects", ()))
        self.planner = Planner(plan, store, proposer, self.agenda, lambda text: emit({"event": "note", "text": text}))
        self._resume()
        self.planner.add_baselines()

    # What an engine calls

    @property
    def done(self) -> bool:
        """True when nothing runs and nothing more will start in this sitting."""
        return not (self.live or self.agenda.startable or self.planner.may_propose(0) or self.agenda.confirmable)

    @shielded()
    def next_job(self) -> Job | None:
        """The next run to execute, or None while there is nothing to start."""
        self._refill()
        return self._begin(*self.agenda.queue.popleft()) if self.agenda.startable else None

    @shielded()
    def next_jobs(self, idle: int = 1) -> list[Job]:
        """The next runs to execute in one process: of one kind, and proposals of one round.

        Args:
            idle: processes that have nothing to do, this one included; what can start now is shared out among them.
        """
        self._refill()
        if not self.agenda.startable:
            return []
        peers = self.agenda.peers()
        size = min(self.agenda.most, -(-(len(peers) + self.agenda.room(peers)) // idle))
        running = len(self.live)
        while len(peers) < size and self.planner.may_propose(running, len(peers)):
            if (trial := self.planner.propose(running)) is None:
                break
            peers.append((trial, trial.seeds[0]))
        self.agenda.take(peers[:size])
        return [self._begin(*each) for each in peers[:size]]

    def on_epoch(self, run: str, record: EpochRecord) -> bool:
        """Takes an epoch's record; False when the run must stop."""
        return not self.on_epochs({run: record})

    @shielded()
    def on_epochs(self, records: Mapping[str, EpochRecord]) -> list[str]:
        """Takes one epoch's record of each run of a process; returns the runs that must stop.

        All are noted before any is judged, so that their order decides nothing.
        """
        for run, record in records.items():
            live = self.live[run]
            live.epochs.append(record)
            about = {"epoch": record.epoch, "score": self._score(record), "metrics": metrics_of(record)}
            self._tell("epoch", live.trial, run=run, seed=live.seed, **about)
        return [run for run, record in records.items() if not self._stays(self.live[run], record)]

    def _stays(self, live: _Live, record: EpochRecord) -> bool:
        if live.trial.kind != PROPOSAL or record.epoch not in self.rungs:
            return True
        running = [[self._score(e) for e in other.epochs] for other in self.live.values() if other is not live]
        peers = scores_at(record.epoch, self.trials, running)
        return in_better_half(self._score(record), peers, self.plan.objectives[0])

    @shielded()
    def on_end(self, run: str, outcome: Outcome) -> None:
        """Takes the end of a run: writes it at once, then decides its trial if that is possible."""
        if outcome.state == DIED and outcome.shared:
            # Another run may have been the cause, so this is no fault of its own: it is tried again, alone.
            self.agenda.suspects.add(run)
            self.store.set("suspects", sorted(self.agenda.suspects))
            title, reason = self.live[run].trial.title, outcome.reason
            self.emit({"event": "note", "text": f"run {run} of {title} is tried again, alone: {reason}"})
            self.on_lost(run)
            return
        live = self.live.pop(run)
        trial = live.trial
        ended = run_record(run, live.seed, live.epochs, outcome, self.plan)
        if outcome.test is not None:  # before the run: once that is written, nobody asks for its test metrics again
            self.store.set("test", {**self.store.get("test", {}), run: outcome.test})
        again = ended.state == DIED and not any(d.seed == live.seed for d in trial.deaths)
        self.store.add_run(trial, ended)
        if ended.state == DIED and not again:
            ended = replace(ended, state=FAILED, reason=f"{ended.reason}, twice")
            self.store.add_run(trial, ended)
        self._tell("run", trial, **ended.to_dict())
        if again:
            self.agenda.put_back(trial, live.seed)
        elif not self._decide(trial) and trial.kind == PROPOSAL:
            self.agenda.put_back(trial, trial.undecided[0])

    @shielded()
    def on_lost(self, run: str) -> None:
        """Takes back a run whose engine failed: it is queued again and nothing is held against it."""
        live = self.live.pop(run)
        self.agenda.put_back(live.trial, live.seed)

    def tidy(self) -> None:
        """Removes the weights that nobody needs: of runs whose test metrics are known, and of all but the finalists."""
        tested = self.store.get("test", {})
        keep = set(self.live)
        if self.plan.table is not None:  # every run of a table is tested
            keep |= {r.run for t in self.trials for r in t.runs.values() if r.state == COMPLETE and r.run not in tested}
        keep |= {run.run for c in self.planner.finalists() for run in c.runs.values() if run.run not in tested}
        keep |= {t.run(s) for t in self.trials if not t.ended for s in t.seeds}
        work = self.plan.folder / "work"
        for path in work.iterdir() if work.is_dir() else ():
            if path.is_dir() and path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)

    @shielded()
    def close(self) -> None:
        """Ends the sitting: trials whose runs are not all decided go back to waiting for the next one."""
        for trial in self.trials:
            if trial.state == "RUNNING":
                self.store.mark(trial, "WAITING")
        self.store.set("refused", dict(Counter(self.store.get("refused", {})) + self.proposer.refused))

    # Starting

    def _resume(self) -> None:
        """Queues what an earlier sitting left: the coordinator was killed, or its time was up."""
        for trial in self.trials:
            if not trial.ended and not self._decide(trial):
                self.agenda.add(trial)

    def _refill(self) -> None:
        """Plans more runs when none is waiting."""
        if self.agenda.startable:
            return
        if self.planner.may_propose(len(self.live)):
            self.planner.propose(len(self.live))
        elif not self.live and self.agenda.confirmable:
            self.planner.add_confirmation()

    def _begin(self, trial: TrialRecord, seed: int) -> Job:
        if trial.state == "WAITING":
            self.store.mark(trial, "RUNNING")
        run = trial.run(seed)
        self.live[run] = _Live(trial, seed)
        self._tell("start", trial, run=run, seed=seed)
        return Job(run, run_spec(self.plan, trial, seed), test=self.plan.table is not None)

    # Deciding

    def _score(self, record: EpochRecord) -> float:
        return values_of(record, self.plan.objectives)[0]

    def _decide(self, trial: TrialRecord) -> bool:
        """Ends the trial when its runs say enough; True when it did."""
        ended = trial.runs.values()
        bad = next((r for r in ended if r.state in (FAILED, STOPPED)), None)
        # A proposal's seeds decide one about the next; one bad run ends it. Every other trial runs all of its seeds.
        racing = trial.kind == PROPOSAL and bool(trial.runs)
        if trial.undecided and not (racing and (bad or self._beaten(trial))):
            return False
        if trial.state == "WAITING":
            self.store.mark(trial, "RUNNING")
        if bad:
            self.store.finish(trial, "FAIL" if bad.state == FAILED else "PRUNED", reason=bad.reason)
        else:
            means = [mean_std(column)[0] or 0.0 for column in zip(*(r.values for r in ended), strict=True)]
            short = f"out of the race after {len(trial.runs)} of {len(trial.seeds)} seeds" if trial.undecided else None
            self.store.finish(trial, "COMPLETE", means, reason=short)
        self._tell("trial", trial, values=list(trial.values), reason=trial.reason)
        self.tidy()
        return True

    def _beaten(self, trial: TrialRecord) -> bool:
        return not goes_on(trial, self.agenda.rivals(trial), self.plan.objectives[0])

    # Telling

    def _tell(self, event: str, trial: TrialRecord, **fields: Any) -> None:
        self.emit(
            {"event": event, "trial": trial.number, "kind": trial.kind, "state": trial.state}
            | {"proposals": self.agenda.proposals, "seconds_left": self.agenda.remaining}
            | {"title": trial.title, "formula": trial.surrogate.text}
            | fields
        )
