"""Executes runs, one epoch at a time: every engine steps them alike.

Runs of a small perceptron train as a population, each with the same bits in whatever company, so that the engines and
any number of workers agree. All others train alone.
"""

import sys
from collections.abc import Collection, Generator, Sequence
from contextlib import nullcontext, suppress
from typing import Any

from sugar_search.errors import DivergedError
from sugar_search.search.interrupt import shielded
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
        self._whole = False  # whether a signal waits for the end of an epoch
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
            with suppress(Exception):  # what goes wrong now concerns no run any more
                self.close()
        return {run: Outcome(STOPPED) for run in runs}

    def close(self) -> None:
        """Ends all runs and frees what they hold; those that were stopped leave nothing."""
        epochs, self._epochs = self._epochs, None
        if epochs is None:
            return
        if self._whole and self._stopped:
            from sugar_search.training.population.train import Stop

            with suppress(Stop):
                epochs.throw(Stop(self._stopped))
        epochs.close()

    def _next(self) -> Step:
        if self._epochs is None:
            specs = [job.spec for job in self.jobs]
            self._whole = _is_population(specs)
            self._epochs = _population(specs) if self._whole else _alone(specs[0])
            stopped = None
        else:
            stopped, self._stopped = self._stopped or None, set()
        # A population's epochs are short, and what a signal breaks off could not be stored.
        with shielded() if self._whole else nullcontext():
            try:
                found = self._epochs.send(stopped)
            except StopIteration:
                found = None
        by_run = {job.run: job for job in self.jobs}
        if found is None:
            return {run: _complete(by_run[run]) for run in self.live}
        named = {self.jobs[number].run: each for number, each in found.items()}
        return {run: _result(named[run]) for run in self.live if run in named}


# The next two give a generator of what each epoch gave, by number of the job; it takes the numbers to stop. Imports
# stand where they are needed: the coordinator uses this module and should not load torch before it must.


def _is_population(specs: Sequence[RunSpec]) -> bool:
    from sugar_search.training.population.servable import servable

    return len(specs) > 1 or servable(specs[0]) is None


def _population(specs: Sequence[RunSpec]) -> Generator[Found, set[int] | None, None]:
    from sugar_search.training.population.train import train_population

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
