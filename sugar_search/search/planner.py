"""Adds trials to a study: the baselines, proposals round by round, and the confirmation of the finalists."""

from collections.abc import Callable, Iterable
from typing import Any

from sugar_search.search.agenda import Agenda
from sugar_search.search.finals import finalists
from sugar_search.search.interrupt import pending
from sugar_search.search.plan import Plan, fresh_seeds, run_seeds
from sugar_search.search.records import BASELINE, CONFIRMATION, PROPOSAL, Candidate, TrialRecord, missing_seeds
from sugar_search.search.sampler import Proposer
from sugar_search.search.store import Store
from sugar_search.symbolic.fingerprint import Known
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["Planner"]


class Planner:
    """Adds to the study in one sitting, each trial to the storage, to the agenda's trials and to its queue.

    Args:
        plan: what to do.
        store: the study, open and held.
        proposer: where new surrogates come from.
        agenda: holds all trials of the study, and says what may start.
        note: receives what a user should read.
    """

    def __init__(
        self, plan: Plan, store: Store, proposer: Proposer, agenda: Agenda, note: Callable[[str], None]
    ) -> None:
        self.plan, self.store, self.proposer, self.agenda, self.note = plan, store, proposer, agenda, note
        self.taught: int | None = None  # index of the round's first proposal when the sampler learned last
        self.known = Known[str]()
        for trial in agenda.trials:
            self.known.add(trial.surrogate, trial.title)

    def add_baselines(self) -> None:
        """Adds the baselines' seeds that no trial has run or will run."""
        for baseline in self.plan.baselines:
            surrogate, sugar = baseline.surrogate, baseline.sugar
            if seeds := missing_seeds(self.agenda.trials, (surrogate.canonical, sugar), run_seeds(self.plan.repeats)):
                choices = self.proposer.adopt(surrogate) if sugar else ()
                self._add(BASELINE, surrogate, seeds, *choices, sugar=sugar)

    def may_propose(self, running: int, taken: int = 0) -> bool:
        """Whether one more proposal may start (see `Agenda.may_propose`), and the space may hold one."""
        return not self.proposer.exhausted and self.agenda.may_propose(running, taken)

    def propose(self, running: int) -> TrialRecord | None:
        """Adds a proposal; None when the space holds nothing new, or trials, time or a signal end the search for one.

        Args:
            running: runs that execute now.
        """
        if self.taught != (first := self.agenda.round_start):
            self._teach(first)
            self.taught = first
        proposal = self.proposer.propose(
            self.agenda.proposals, self.known, stop=lambda: pending() or not self.may_propose(running)
        )
        if proposal is not None:
            seeds = run_seeds(self.plan.repeats)
            return self._add(PROPOSAL, proposal.surrogate, seeds, proposal.params, proposal.distributions)
        if self.proposer.exhausted:
            vain = ", ".join(f"{count} {reason}" for reason, count in self.proposer.refused.most_common())
            self.note(f"space {self.plan.space.name} holds nothing new that it admits (drawn in vain: {vain})")
        return None

    def finalists(self) -> list[Candidate]:
        """ReLU, the paper's best other surrogate, and the best proposal, as far as each exists."""
        paper = {b.surrogate.canonical for b in self.plan.baselines}
        return finalists(self.agenda.trials, self.plan.objectives[0], paper)

    def add_confirmation(self) -> None:
        """Adds the finalists' runs on fresh seeds; nothing else starts in this sitting."""
        self.agenda.confirm()
        for candidate in self.finalists():
            key = (candidate.surrogate.canonical, True)
            if seeds := missing_seeds(self.agenda.trials, key, fresh_seeds(self.plan.confirm)):
                self._add(CONFIRMATION, candidate.surrogate, seeds)

    def _add(
        self, kind: str, surrogate: Surrogate, seeds: Iterable[int], *choices: Any, sugar: bool = True
    ) -> TrialRecord:
        trial = self.store.add(kind, surrogate, tuple(seeds), *(choices or ({}, {})), sugar=sugar)
        self.agenda.trials.append(trial)
        self.known.add(surrogate, trial.title)
        self.agenda.add(trial)
        return trial

    def _teach(self, first: int) -> None:
        """Lets the sampler learn what the round that begins with the proposal of index `first` may know."""
        trials = self.agenda.trials
        kinds = {t.number: t.kind for t in trials if t.sugar and t.kind != CONFIRMATION}
        now = {t.number for t in [t for t in trials if t.kind == PROPOSAL][first:]}
        frozen = [f for f in self.store.frozen() if f.number in kinds]
        ended = [f for f in frozen if f.state.is_finished() and f.number not in now]
        numbers = {f.number for f in ended}
        self.proposer.learn(ended, [f for f in frozen if kinds[f.number] == PROPOSAL and f.number not in numbers])
