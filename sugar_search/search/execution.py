"""Executes runs, one epoch at a time: every engine steps them alike.

Runs of a small perceptron train as a population, each with the same bits in whatever company, so that the engines and
any number of workers agree. All others train alone.
"""

import sys
from collections.abc import Collection, Generator, Sequence
from contextlib import suppress
from typing import Any

from sugar_search.errors import DivergedError
from sugar_search.search.jobs import COMPLETE, DIED, FAILED, STOPPED, Job, Outcome
from sugar_search.training.run import EpochRecord, RunSpec

__all__ = ["MOST_WEIGHTS", "TOGETHER", "Execution", "Step", "together"]

# Runs of one population: of 16, half of what a large batch gains is reached, and proposals still learn from results.
TOGETHER = 16

# A batch gains where networks are small: above so many weights one run keeps a core busy. The limit of memory is a
# constant, for the size of a round decides about proposals, which must not depend on what else the machine does.
MOST_WEIGHTS = 200_000
MOST_BYTES = 2 * 2**30

Step = dict[str, EpochRecord | Outcome]
Found = dict[int, EpochRecord | DivergedError]  # what an epoch gave, by number of the job


def together(spec: RunSpec) -> int:
    """How many runs like `spec` a worker should execute at once. Nothing is put on a GPU to find out."""
    from sugar_search.training.population import servable as members

    try:
        if TOGETHER == 1 or members.servable(spec) is not None:
            return 1
        each, weights = members.bytes_per_member(spec), members.weights_of(spec)
    except Exception:  # a network of the user may raise anything; the run itself will say what is wrong
        return 1
    return 1 if weights > MOST_WEIGHTS else max(1, min(TOGETHER, MOST_BYTES // max(1, each)))


class Execution:
    """Runs in progress, in one process.

    Args:
        jobs: one, or several that `together` allows.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = tuple(jobs)
        self.live = [job.run for job in jobs]
        self._epochs: Any = None
        self._stopped: set[int] = set()

    def step(self) -> Step:
        """What the next epoch gave, by run: a record, or how the run ended.

        Never raises: a failed run must not end a study.
        """
        try:
            found = self._next()
        except Exception as error:
            memory = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
            first = (str(error).splitlines() or [""])[0]
            reason = f"{type(error).__name__}: {first}"[:500]
            # One of several may have brought the others down: each gets another try, alone.
            shared = len(self.jobs) > 1
            state = DIED if shared else FAILED
            found = {run: Outcome(state, reason, restart=memory, shared=shared) for run in self.live}
        self.live = [run for run in self.live if not isinstance(found.get(run), Outcome)]
        return found

    def stop(self, runs: Collection[str]) -> Step:
        """Ends runs early; returns their outcomes."""
        self._stopped |= {number for number, job in enumerate(self.jobs) if job.run in runs}
        self.live = [run for run in self.live if run not in runs]
        if not self.live:
            if self._epochs is not None:
                # Told first which ones are stopped, it stores no checkpoint of theirs when it is closed. That there is
                # nothing left to train ends it; and whatever else it says concerns no run any more.
                with suppress(Exception):
                    self._epochs.send(self._stopped)
            self.close()
        return {run: Outcome(STOPPED) for run in runs}

    def close(self) -> None:
        """Ends all runs and frees what they hold."""
        if self._epochs is not None:
            self._epochs.close()
        self._epochs = None

    def _next(self) -> Step:
        if self._epochs is None:
            self._epochs = _epochs(self.jobs)
            found = next(self._epochs, None)
        else:
            stopped, self._stopped = self._stopped, set()
            try:
                found = self._epochs.send(stopped or None)
            except StopIteration:
                found = None
        by_run = {job.run: job for job in self.jobs}
        if found is None:
            return {run: _complete(by_run[run]) for run in self.live}
        named = {self.jobs[number].run: each for number, each in found.items()}
        return {run: _result(named[run]) for run in self.live if run in named}


def _epochs(jobs: Sequence[Job]) -> Generator[Found, set[int] | None, None]:
    """A generator of what each epoch gave, by number of the job; it takes the numbers to stop."""
    # Imported here: the coordinator uses this module and should not load torch before it must.
    from sugar_search.training.population.servable import servable
    from sugar_search.training.population.train import train_population

    specs = [job.spec for job in jobs]
    if len(specs) == 1 and servable(specs[0]) is not None:
        return _alone(specs[0])
    return train_population(specs)


def _alone(spec: RunSpec) -> Generator[Found, set[int] | None, None]:
    from sugar_search.training.loop import train

    try:
        for record in train(spec):
            if (yield {0: record}):
                return
    except DivergedError as error:
        yield {0: error}


def _result(found: EpochRecord | DivergedError) -> EpochRecord | Outcome:
    return Outcome(FAILED, str(found), diverged=True) if isinstance(found, DivergedError) else found


def _complete(job: Job) -> Outcome:
    """With the test metrics that were asked for. A fault there (memory, say) must not cost the training."""
    from sugar_search.training.loop import evaluate_test

    if not job.test:
        return Outcome(COMPLETE)
    try:
        return Outcome(COMPLETE, test=evaluate_test(job.spec).to_dict())
    except Exception as error:
        print(f"run {job.run}: no test metrics yet: {error}", file=sys.stderr)
        return Outcome(COMPLETE)
