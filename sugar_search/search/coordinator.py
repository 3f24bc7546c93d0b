"""Decides what runs next and what every result means. The only writer of the study.

An engine asks for jobs, passes on each epoch and each end, and knows nothing of trials, seeds or objectives. Both
engines drive the same coordinator, so a study behaves alike wherever its runs execute.
"""

import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sugar_search.search.finals import finalists
from sugar_search.search.interrupt import pending, shielded
from sugar_search.search.jobs import COMPLETE, DIED, FAILED, STOPPED, Job, Outcome
from sugar_search.search.plan import Plan, fresh_seeds, run_seeds
from sugar_search.search.racing import goes_on, in_better_half, rungs, scores_at
from sugar_search.search.records import (
    BASELINE,
    CONFIRMATION,
    PROPOSAL,
    Candidate,
    TrialRecord,
    mean_std,
    missing_seeds,
    run_seconds,
)
from sugar_search.search.results import metrics_of, run_record, run_spec, values_of
from sugar_search.search.rounds import peers_of, teach
from sugar_search.search.sampler import Proposer
from sugar_search.search.store import Store
from sugar_search.symbolic.fingerprint import Known
from sugar_search.symbolic.surrogate import Surrogate
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
        self.plan, self.store, self.proposer, self.emit, self.clock = plan, store, proposer, emit, clock
        self.start, self.together = clock(), together
        self.rungs = rungs(plan.recipe.epochs)
        self.live: dict[str, _Live] = {}
        self.queue: deque[tuple[TrialRecord, int]] = deque()
        self.suspects: set[str] = set()
        self.taught: int | None = None
        self.trials = store.trials()
        self.known = Known[str]()
        for trial in self.trials:
            self.known.add(trial.surrogate, trial.title)
        self.confirming = False
        self._resume()
        self._add_baselines()

    # What an engine calls

    @property
    def done(self) -> bool:
        """True when nothing runs and nothing more will start in this sitting."""
        return not self.live and not self._startable() and not self._may_propose() and not self._confirmable()

    @shielded()
    def next_job(self) -> Job | None:
        """The next run to execute, or None while there is nothing to start."""
        self._refill()
        return self._begin(*self.queue.popleft()) if self._startable() else None

    @shielded()
    def next_jobs(self, idle: int = 1) -> list[Job]:
        """The next runs to execute in one process: of one kind, and proposals of one round.

        Args:
            idle: processes that have nothing to do, this one included; what can start now is shared out among them.
        """
        self._refill()
        if not self._startable():
            return []
        peers = peers_of(self.queue, self.trials, self.together, self._alone)
        trial = peers[0][0]
        grows = trial.kind == PROPOSAL and not self._alone(trial.run(peers[0][1]))
        room = -self.proposals % self.together if grows and self._in_round(trial) else 0
        size = min(self.together, -(-(len(peers) + min(room, self._wanted)) // idle))
        while room and len(peers) < size and self._may_propose(len(peers)):
            before = len(self.queue)
            self._propose()
            if len(self.queue) == before:
                break
            peers.append(self.queue[-1])
            room -= 1
        for each in peers[:size]:
            self.queue.remove(each)
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
            self.suspects.add(run)
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
            self.queue.appendleft((trial, live.seed))
        elif not self._decide(trial) and trial.kind == PROPOSAL:
            self.queue.appendleft((trial, trial.undecided[0]))

    @shielded()
    def on_lost(self, run: str) -> None:
        """Takes back a run whose engine failed: it is queued again and nothing is held against it."""
        live = self.live.pop(run)
        self.queue.appendleft((live.trial, live.seed))

    def tidy(self) -> None:
        """Removes the weights that nobody needs: of runs whose test metrics are known, and of all but the finalists."""
        tested = self.store.get("test", {})
        keep = set(self.live)
        if self.plan.table is not None:  # every run of a table is tested
            keep |= {r.run for t in self.trials for r in t.runs.values() if r.state == COMPLETE and r.run not in tested}
        keep |= {run.run for c in self.finalists() for run in c.runs.values() if run.run not in tested}
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

    # Views

    @property
    def remaining(self) -> float | None:
        """Seconds left of the time budget, None without one."""
        budget = self.plan.time_budget
        return None if budget is None else budget - (self.clock() - self.start)

    @property
    def out_of_time(self) -> bool:
        """True when the time budget is spent."""
        return self.remaining is not None and self.remaining <= 0

    @property
    def proposals(self) -> int:
        """Proposals in the study, of earlier sittings too."""
        return sum(t.kind == PROPOSAL for t in self.trials)

    @property
    def baselines_done(self) -> bool:
        """True when every baseline has ended."""
        return all(t.ended for t in self.trials if t.kind == BASELINE)

    def finalists(self) -> list[Candidate]:
        """ReLU, the paper's best other surrogate, and the best proposal, as far as each exists."""
        return finalists(self.trials, self.plan.objectives[0], {b.surrogate.canonical for b in self.plan.baselines})

    # Starting

    def _refill(self) -> None:
        """Plans more runs when none is waiting."""
        if self._startable():
            return
        if self._may_propose():
            self._propose()
        elif self._confirmable():
            self._plan_confirmation()

    def _alone(self, run: str) -> bool:
        return run in self.suspects or any(death.run == run for t in self.trials for death in t.deaths)

    def _in_round(self, trial: TrialRecord) -> bool:
        """Whether a proposal belongs to the round of the next one."""
        proposals = [t.number for t in self.trials if t.kind == PROPOSAL]
        return proposals.index(trial.number) // self.together == len(proposals) // self.together

    @property
    def _wanted(self) -> int:
        """How many proposals the study still asks for, at most a round."""
        return self.together if self.plan.trials is None else max(0, self.plan.trials - self.proposals)

    def _startable(self) -> bool:
        return bool(self.queue) and not (self.out_of_time and not self.confirming)

    def _resume(self) -> None:
        """Queues what an earlier sitting left: the coordinator was killed, or its time was up."""
        for trial in self.trials:
            if not trial.ended and not self._decide(trial):
                self._enqueue(trial)

    def _enqueue(self, trial: TrialRecord) -> None:
        # A proposal's seeds follow one another, for each decides about the next.
        seeds = trial.undecided[:1] if trial.kind == PROPOSAL else trial.undecided
        if self.plan.table is not None:  # an earlier sitting may have planned rows and seeds that this one leaves out
            kept = {b.key for b in self.plan.baselines} if trial.kind == BASELINE else {trial.key}
            seeds = tuple(s for s in seeds if trial.key in kept and s in run_seeds(self.plan.repeats))
        self.queue.extend((trial, seed) for seed in seeds)

    def _add(
        self, kind: str, surrogate: Surrogate, seeds: Iterable[int], *choices: Any, sugar: bool = True
    ) -> TrialRecord:
        trial = self.store.add(kind, surrogate, tuple(seeds), *(choices or ({}, {})), sugar=sugar)
        self.trials.append(trial)
        self.known.add(surrogate, trial.title)
        self._enqueue(trial)
        return trial

    def _add_baselines(self) -> None:
        for baseline in self.plan.baselines:
            surrogate, sugar = baseline.surrogate, baseline.sugar
            if seeds := missing_seeds(self.trials, (surrogate.canonical, sugar), run_seeds(self.plan.repeats)):
                choices = self.proposer.adopt(surrogate) if sugar else ()
                self._add(BASELINE, surrogate, seeds, *choices, sugar=sugar)

    def _may_propose(self, taken: int = 0) -> bool:
        """Whether one more proposal may start, beside the live runs and those `taken` for the same process."""
        if self.confirming or self.proposer.exhausted:
            return False
        if self.plan.trials is not None and self.proposals >= self.plan.trials:
            return False
        if self.remaining is None:
            return True
        # A proposal starts only when it and the confirmation of the finalists are expected to fit.
        run = run_seconds(self.trials)
        workers = max(1, self.plan.workers)
        # The seconds of a run are its share of its batch, so runs of one worker take the sum of theirs.
        ahead = taken + (len(self.live) / workers if self.together > 1 else 0)
        return self.remaining > run * (ahead + 1) + 3 * self.plan.confirm * run / workers

    def _propose(self) -> None:
        first = self.proposals - self.proposals % self.together
        if self.taught != first:
            teach(self.proposer, self.store, self.trials, first)
            self.taught = first
        proposal = self.proposer.propose(self.proposals, self.known, stop=lambda: pending() or not self._may_propose())
        if proposal is None:
            if self.proposer.exhausted:
                vain = ", ".join(f"{count} {reason}" for reason, count in self.proposer.refused.most_common())
                text = f"space {self.plan.space.name} holds nothing new that it admits (drawn in vain: {vain})"
                self.emit({"event": "note", "text": text})
            return
        seeds = run_seeds(self.plan.repeats)
        self._add(PROPOSAL, proposal.surrogate, seeds, proposal.params, proposal.distributions)

    def _confirmable(self) -> bool:
        # Without every baseline there is no fair comparison yet: the next sitting goes on.
        waiting = bool(self.queue) and not self.out_of_time
        return not self.confirming and not self.live and not waiting and self.baselines_done

    def _plan_confirmation(self) -> None:
        self.confirming = True
        self.queue.clear()  # seeds of proposals that time no longer allows; they wait for the next sitting
        for candidate in self.finalists():
            if seeds := missing_seeds(
                self.trials, (candidate.surrogate.canonical, True), fresh_seeds(self.plan.confirm)
            ):
                self._add(CONFIRMATION, candidate.surrogate, seeds)

    def _begin(self, trial: TrialRecord, seed: int) -> Job:
        if trial.state == "WAITING":
            self.store.mark(trial, "RUNNING")
        run = trial.run(seed)
        self.live[run] = _Live(trial, seed)
        self._tell("start", trial, run=run, seed=seed)
        return Job(run, run_spec(self.plan, trial, seed), test=self.plan.table is not None, alone=self._alone(run))

    # Deciding

    def _score(self, record: EpochRecord) -> float:
        return values_of(record, self.plan.objectives)[0]

    def _decide(self, trial: TrialRecord) -> bool:
        """Ends the trial when its runs say enough; True when it did."""
        ended = trial.runs.values()
        bad = next((r for r in ended if r.state in (FAILED, STOPPED)), None)
        # A proposal's seeds decide one about the next; one bad run ends it. Every other trial runs all of its seeds.
        racing = trial.kind == PROPOSAL and bool(trial.runs)
        if trial.undecided and not (racing and (bad or not goes_on(trial, self.trials, self.plan.objectives[0]))):
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

    # Telling

    def _tell(self, event: str, trial: TrialRecord, **fields: Any) -> None:
        self.emit(
            {"event": event, "trial": trial.number, "kind": trial.kind, "state": trial.state}
            | {"proposals": self.proposals, "seconds_left": self.remaining}
            | {"title": trial.title, "formula": trial.surrogate.text}
            | fields
        )
