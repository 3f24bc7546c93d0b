"""Many runs of one small perceptron, trained in one batch."""

import time
from collections.abc import Collection, Generator, Sequence
from pathlib import Path

from sugar_search.training.population.begin import begin
from sugar_search.training.population.members import Step
from sugar_search.training.run import RunSpec

__all__ = ["STORE_SECONDS", "Stop", "train_population"]

STORE_SECONDS = 1.0  # between two checkpoints, at least
STORE_SHARE = 0.04  # of the time, which checkpoints of shorter epochs may take
MOST_SECONDS = 10.0  # between two of them, whatever they take: what a kill costs at most


class Stop(Exception):
    """Thrown into the generator of a population, it closes it as `close` does; the members named leave nothing.

    Args:
        numbers: of members to stop.
    """

    def __init__(self, numbers: Collection[int]) -> None:
        super().__init__(f"stop {sorted(numbers)}")
        self.numbers = set(numbers)


def train_population(
    specs: Sequence[RunSpec], *, folder: Path | None = None, keep: bool = True
) -> Generator[Step, set[int] | None, None]:
    """Trains runs of one architecture together, each as `loop.train` would train it alone, up to rounding.

    After each epoch it yields what every member gave: a record, or once the error of one that diverged. Numbers sent
    to the generator are members to stop: they leave nothing. Nor do those of a `Stop`, which ends the population. A
    member's bits depend on no other member. Records of finished epochs are yielded again first. The caller's random
    state is left alone.

    Checkpoints are written after every epoch that takes `STORE_SECONDS` or more, after shorter ones every so often that
    they take a `STORE_SHARE` of the time or `MOST_SECONDS` have passed, and when the generator is closed between two
    epochs. A member goes on from its own, whoever trains with it then.

    Args:
        specs: runs that differ in surrogate, seed, folder and options of the architecture alone, and are `servable`.
        folder: where one checkpoint of all members lies if they do not `keep` their own, for the caller to remove; None
            for none. Not used if they do.
        keep: whether each member has a folder of its own for its checkpoints, and for what a complete solo run leaves
            there, so that it can be tested, and is not trained again.

    Yields:
        By position in `specs`, the record of the epoch, or the error of a member that diverged in it.

    Raises:
        InputError: the runs cannot train in one batch, or an option of theirs breaks a rule.
        FileError: a folder cannot be written.
    """
    population = begin(tuple(specs), folder, keep=keep)
    stored, cost, epochs = time.monotonic(), 0.0, specs[0].recipe.epochs
    for epoch in range(1, epochs + 1):
        if not population.going:
            return
        began = time.monotonic()
        population.advance(epoch)
        now = time.monotonic()
        if epoch == epochs and keep:  # before the yield: a caller may stop at the last record
            population.finish()
        elif epoch < epochs and _is_due(now - began, now - stored, cost):
            population.store()
            stored = time.monotonic()
            cost = stored - now
        try:
            stopped = yield population.step(epoch)
        except BaseException as end:  # closed, or interrupted: here all members are between two epochs
            if isinstance(end, Stop):
                population.drop(end.numbers)
            if epoch < epochs:
                population.store()
            raise
        if stopped:
            population.drop(stopped)


def _is_due(epoch: float, waited: float, cost: float) -> bool:
    """Whether a checkpoint is to be written: seconds of the epoch, since the last checkpoint, and which that took."""
    needed = STORE_SECONDS if epoch >= STORE_SECONDS else max(STORE_SECONDS, min(cost / STORE_SHARE, MOST_SECONDS))
    return waited >= needed
