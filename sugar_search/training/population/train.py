"""Many runs of one small perceptron, trained in one batch."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path

from sugar_search.training.population.begin import begin
from sugar_search.training.population.members import Step
from sugar_search.training.run import RunSpec

__all__ = ["STORE_SECONDS", "train_population"]

STORE_SECONDS = 10.0  # between two checkpoints: what a kill costs at most


def train_population(
    specs: Sequence[RunSpec], *, folder: Path | None = None, keep: bool = True
) -> Generator[Step, set[int] | None, None]:
    """Trains runs of one architecture together, each as `loop.train` would train it alone, up to rounding.

    After each epoch it yields what every member gave: a record, or once the error of one that diverged. Numbers sent
    to the generator are members to stop: they leave nothing. A member's bits depend on no other member. Records of
    finished epochs are yielded again first. The caller's random state is left alone.

    Checkpoints are written when `STORE_SECONDS` have passed since the last, and when the generator is closed between
    two epochs. A member goes on from its own, whoever trains with it then.

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
    stored, epochs = time.monotonic(), specs[0].recipe.epochs
    for epoch in range(1, epochs + 1):
        if not population.going:
            return
        population.advance(epoch)
        if epoch == epochs and keep:  # before the yield: a caller may stop at the last record
            population.finish()
        elif epoch < epochs and time.monotonic() - stored >= STORE_SECONDS:
            population.store()
            stored = time.monotonic()
        try:
            stopped = yield population.step(epoch)
        except BaseException:  # closed, or interrupted: here all members are between two epochs
            if epoch < epochs:
                population.store()
            raise
        if stopped:
            population.drop(stopped)
