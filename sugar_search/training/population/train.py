"""Many runs of one small perceptron, trained in one batch."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path

from sugar_search.training import checkpoint
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

    Args:
        specs: runs that differ in surrogate, seed, folder and options of the architecture alone, and are `servable`.
        folder: where the population's checkpoints lie; None for none, so that an interrupted population begins anew.
            One is written when `STORE_SECONDS` have passed since the last, and when the generator is closed.
        keep: whether a complete member leaves in its own folder what a complete solo run leaves, so that it can be
            tested, and is not trained again. If not, the last checkpoint stays in `folder` for the caller to remove.

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
        if epoch > population.epoch:
            population.advance(epoch)
            late = time.monotonic() - stored >= STORE_SECONDS
            if epoch == epochs and keep:  # before the yield: a caller may stop at the last record
                population.finish()
            elif late and epoch < epochs:
                population.store()
                stored = time.monotonic()
        try:
            stopped = yield population.step(epoch)
        except GeneratorExit:
            if epoch < epochs:
                population.store()
            raise
        if stopped:
            population.drop(stopped)
    if folder is not None and keep:
        checkpoint.clear(folder)
