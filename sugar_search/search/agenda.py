"""What may start: the runs that wait, proposals while trials and time last, and which runs may share a process.

Proposals come in rounds, as large as the batch that a process trains: those of one round are made before any result of
the round is known, and are judged by results of earlier rounds. So with one worker a study's history alone decides what
it tries, and not where an earlier sitting was stopped.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from sugar_search.search.plan import Plan, run_seeds
from sugar_search.search.records import BASELINE, PROPOSAL, TrialRecord, run_seconds

__all__ = ["Agenda", "Waiting"]

Waiting = tuple[TrialRecord, int]  # a trial, and the seed of its run that waits


class Agenda:
    """The runs that wait in one sitting, and the rules of what may start.

    Args:
        plan: what to do.
        trials: all trials of the study; more are added to this list.
        clock: seconds, monotonic.
        together: the size of a round, and the most runs that share a process.
        suspects: ids of runs that died together with others, in earlier sittings.
    """

    def __init__(
        self,
        plan: Plan,
        trials: list[TrialRecord],
        clock: Callable[[], float],
        together: int,
        suspects: Iterable[str] = (),
    ) -> None:
        self.plan, self.trials, self.clock, self.together = plan, trials, clock, together
        self.start = clock()
        self.queue: deque[Waiting] = deque()
        self.suspects = set(suspects)
        self.confirming = False

    # Trials and time

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
    def startable(self) -> bool:
        """True when a run waits and may start. A confirmation that was begun is ended, whatever the time."""
        return bool(self.queue) and not (self.out_of_time and not self.confirming)

    @property
    def confirmable(self) -> bool:
        """True when the confirmation of the finalists may be planned, once no run executes any more."""
        # Without every baseline there is no fair comparison yet: the next sitting goes on.
        waiting = bool(self.queue) and not self.out_of_time
        return not self.confirming and not waiting and all(t.ended for t in self.trials if t.kind == BASELINE)

    def may_propose(self, running: int, taken: int = 0) -> bool:
        """Whether trials and time allow one more proposal.

        Args:
            running: runs that execute now.
            taken: runs chosen already to start in the same process.
        """
        if self.confirming or (self.plan.trials is not None and self.proposals >= self.plan.trials):
            return False
        if self.remaining is None:
            return True
        # A proposal starts only when it and the confirmation of the finalists are expected to fit.
        run = run_seconds(self.trials)
        workers = max(1, self.plan.workers)
        # The seconds of a run are its share of its batch, so runs of one worker take the sum of theirs.
        ahead = taken + (running / workers if self.together > 1 else 0)
        return self.remaining > run * (ahead + 1) + 3 * self.plan.confirm * run / workers

    @property
    def most(self) -> int:
        """The most runs that may start in one process now: as many as are expected to end in the time that is left.

        One at least, so that a study comes on; and one until a run has shown what it takes.
        """
        if self.remaining is None or self.confirming:
            return self.together
        run = run_seconds(self.trials)
        fitting = int(min(self.together, self.remaining / run)) if run else 1
        return max(1, fitting)

    # Rounds

    @property
    def round_start(self) -> int:
        """The index, among the proposals, of the first one in the next proposal's round."""
        return self.proposals - self.proposals % self.together

    def rounds(self) -> dict[int, int]:
        """The round of each proposal by its trial's number."""
        proposals = (t.number for t in self.trials if t.kind == PROPOSAL)
        return {number: index // self.together for index, number in enumerate(proposals)}

    def rivals(self, trial: TrialRecord) -> list[TrialRecord]:
        """The trials by whose results a proposal is judged: all baselines, and the proposals of earlier rounds."""
        rounds = self.rounds()
        mine = rounds[trial.number]
        return [t for t in self.trials if t.kind == BASELINE or rounds.get(t.number, mine) < mine]

    # The queue

    def add(self, trial: TrialRecord) -> None:
        """Queues what is left of a trial."""
        # A proposal's seeds follow one another, for each decides about the next.
        seeds = trial.undecided[:1] if trial.kind == PROPOSAL else trial.undecided
        if self.plan.table is not None:  # an earlier sitting may have planned rows and seeds that this one leaves out
            kept = {b.key for b in self.plan.baselines} if trial.kind == BASELINE else {trial.key}
            seeds = tuple(s for s in seeds if trial.key in kept and s in run_seeds(self.plan.repeats))
        self.queue.extend((trial, seed) for seed in seeds)

    def put_back(self, trial: TrialRecord, seed: int) -> None:
        """Queues a run before all others: one to be tried again, or the next of a proposal that goes on."""
        self.queue.appendleft((trial, seed))

    def alone(self, run: str) -> bool:
        """Whether a run may share no process, because one that it was in died or failed as a whole."""
        return run in self.suspects or any(death.run == run for t in self.trials for death in t.deaths)

    def peers(self) -> list[Waiting]:
        """The waiting runs that may share a process with the first one: of its kind and round.

        Of a round, only proposals that have the fewest runs behind them: a sitting that goes on where another was
        stopped then makes the same groups.
        """
        lead, seed = self.queue[0]
        if self.alone(lead.run(seed)) or not lead.sugar:
            return [self.queue[0]]
        rounds = self.rounds()
        found = [
            (trial, seed)
            for trial, seed in self.queue
            if trial.sugar
            and trial.kind == lead.kind
            and rounds.get(trial.number) == rounds.get(lead.number)
            and not self.alone(trial.run(seed))
        ]
        if lead.kind != PROPOSAL:
            return found
        fewest = min(len(trial.runs) for trial, _ in found)
        return [(trial, seed) for trial, seed in found if len(trial.runs) == fewest]

    def room(self, peers: Sequence[Waiting]) -> int:
        """How many more proposals, made now, belong to the round of the `peers` and are wanted."""
        trial, seed = peers[0]
        size = self.together
        if (
            trial.kind != PROPOSAL
            or self.alone(trial.run(seed))
            or self.rounds()[trial.number] != self.proposals // size
        ):
            return 0
        room = -self.proposals % size
        return room if self.plan.trials is None else min(room, max(0, self.plan.trials - self.proposals))

    def take(self, waiting: Sequence[Waiting]) -> None:
        """Removes runs from the queue: they start."""
        for each in waiting:
            self.queue.remove(each)

    def confirm(self) -> None:
        """Begins the confirmation: proposals' seeds that time no longer allows wait for the next sitting."""
        self.confirming = True
        self.queue.clear()
