"""All that a training is between two epochs: made anew, put on disk, taken up again."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sugar_search.data._dataset import Dataset
from sugar_search.training import checkpoint
from sugar_search.training.average import average_of
from sugar_search.training.feed import Feed, build_feed
from sugar_search.training.network import build_network, build_optimizer, device_of, forked_random, load_data
from sugar_search.training.run import EpochRecord, RunSpec, selected

__all__ = [
    "FINISHED",
    "WEIGHTS",
    "Training",
    "complete",
    "finish",
    "finished",
    "history_of",
    "keep_weights",
    "own_random",
    "record",
    "start",
    "store",
]

logger = logging.getLogger("sugar_search")

WEIGHTS, FINISHED = "weights.safetensors", "finished.json"
AVERAGE = "average/"  # begins the names of averaged weights in a checkpoint


@dataclass(eq=False)
class Training:
    """One run between two epochs.

    Attributes:
        spec: what is trained.
        data: with the recipe's validation split.
        feed: makes the batches.
        model: on the run's device.
        average: of its weights, None where the recipe has no [ema].
        optimizer: over all its parameters.
        order: draws order, windows and flips of the samples; its own, so that it does not depend on what the network
            draws.
        random: states of torch's global generators, for networks that draw numbers.
        history: the finished epochs.
    """

    spec: RunSpec
    data: Dataset
    feed: Feed
    model: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    order: torch.Generator
    random: dict[str, Tensor]
    history: list[EpochRecord]

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated and saved."""
        return self.model if self.average is None else self.average


def start(spec: RunSpec) -> Training:
    """A new training, or the one that the newest checkpoint in the run's folder holds.

    Checkpoints that are not used are removed: newer ones may have smaller numbers, and would be passed over for them.

    Raises:
        InputError: arch, dataset, surrogate or device do not exist, or do not fit together.
        FileError: the folder cannot be read.
    """
    torch.set_num_threads(spec.threads)
    device = device_of(spec)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # else pinned memory and much else would wake the first GPU as well
    data = load_data(spec)
    feed = build_feed(spec, data, device)
    training = _new(spec, data, feed)
    saved = checkpoint.load_latest(Path(spec.folder))
    try:
        reason = _unusable(training, saved)
        if reason is None and saved is not None:
            _restore(training, saved)
    except (KeyError, ValueError, TypeError) as error:
        reason = f"holds a checkpoint that cannot be read ({error!r})"
        training = _new(spec, data, feed)  # the other may have taken over a part of it
    if reason is not None:
        logger.warning("%s %s: the run begins anew", spec.folder, reason)
        checkpoint.clear(Path(spec.folder))
        _drop_weights(spec, keep=set())
    return training


def _new(spec: RunSpec, data: Dataset, feed: Feed) -> Training:
    with forked_random(device_of(spec)):
        torch.manual_seed(spec.seed)
        model = build_network(spec, data)
        optimizer = build_optimizer(spec.recipe, model)
        average = average_of(model) if spec.recipe.ema else None
        order = torch.Generator().manual_seed(spec.seed)
        return Training(spec, data, feed, model, average, optimizer, order, _generators(spec), [])


def _unusable(training: Training, saved: checkpoint.Checkpoint | None) -> str | None:
    """Why the run cannot go on from what its folder holds; None where it can, and where there is nothing."""
    spec = training.spec
    if saved is None:
        return "holds damaged checkpoints alone" if checkpoint.exist(Path(spec.folder)) else None
    if saved.state.get("run") != spec.digest:
        return "holds checkpoints of another run"
    if not checkpoint.fits(saved, training.model):
        return "holds checkpoints of a network of other layers"
    history = history_of(saved.state)
    if spec.recipe.selection.epoch == "best" and not _weights_of(spec, selected(spec.recipe, history).epoch).is_file():
        return "lacks the weights of its best epoch"
    return None


def _restore(training: Training, saved: checkpoint.Checkpoint) -> None:
    extra = checkpoint.unpack(saved, training.model, training.optimizer)
    training.order.set_state(extra.pop("order"))
    averaged = {name.removeprefix(AVERAGE): extra.pop(name) for name in list(extra) if name.startswith(AVERAGE)}
    if training.average is not None:
        training.average.load_state_dict(averaged)
    training.random = extra
    training.history = history_of(saved.state)


def store(training: Training) -> None:
    """Writes a checkpoint into the run's folder.

    Raises:
        FileError: the folder cannot be written.
    """
    extra = {"order": training.order.get_state(), **training.random}
    if training.average is not None:
        extra |= {AVERAGE + name: tensor for name, tensor in training.average.state_dict().items()}
    tensors, scalars = checkpoint.pack(training.model, training.optimizer, **extra)
    spec, history = training.spec, training.history
    saved = checkpoint.Checkpoint(len(history), tensors, {**scalars, **record(spec, history)})
    checkpoint.save(Path(spec.folder), saved)
    # Whichever of the two checkpoints a later process goes on from, the weights of its best epoch are there.
    _drop_weights(spec, keep={selected(spec.recipe, h).epoch for h in (history, history[:-1]) if h})


def keep_weights(training: Training) -> None:
    """Writes the weights of the epoch just finished where it is the selected one so far, and may remain so.

    Raises:
        FileError: the folder cannot be written.
    """
    recipe, epoch = training.spec.recipe, len(training.history)
    if selected(recipe, training.history).epoch == epoch and (
        recipe.selection.epoch == "best" or epoch == recipe.epochs
    ):
        checkpoint.save_weights(_weights_of(training.spec, epoch), training.judged)


def finish(training: Training) -> None:
    """Writes the selected epoch's weights and the records of a complete run, then removes what it needed on the way."""
    chosen = _weights_of(training.spec, selected(training.spec.recipe, training.history).epoch)
    checkpoint.write_atomically(Path(training.spec.folder) / WEIGHTS, chosen.read_bytes())
    complete(training.spec, training.history)


def complete(spec: RunSpec, history: Sequence[EpochRecord]) -> None:
    """Marks a run whose weights are written as complete, and removes what it needed on the way.

    Raises:
        FileError: the folder cannot be written.
    """
    folder = Path(spec.folder)
    checkpoint.write_atomically(folder / FINISHED, json.dumps(record(spec, history)).encode())
    checkpoint.clear(folder)
    _drop_weights(spec, keep=set())


def finished(spec: RunSpec) -> list[EpochRecord]:
    """The records of a complete run; empty when it is not complete, or another run's."""
    folder = Path(spec.folder)
    try:
        found = json.loads((folder / FINISHED).read_bytes())
        history, digest = history_of(found), found["run"]
    except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: the epochs are trained again
        return []
    if digest != spec.digest:
        logger.warning("%s holds another run: not used", spec.folder)
        return []
    return history if (folder / WEIGHTS).exists() else []


def record(spec: RunSpec, history: Sequence[EpochRecord]) -> dict[str, Any]:
    """What a checkpoint and a complete run say of themselves, as JSON-able values."""
    return {"run": spec.digest, "history": [each.to_dict() for each in history]}


def history_of(record: Mapping[str, Any]) -> list[EpochRecord]:
    """The finished epochs of what `record` made.

    Raises:
        KeyError, TypeError: it is not of `record`, or of an older version.
    """
    return [EpochRecord.from_dict(each) for each in record["history"]]


@contextmanager
def own_random(training: Training) -> Iterator[None]:
    """The block draws from the run's own random state: other runs of the process do not shift it, nor it theirs."""
    with forked_random(device_of(training.spec)):
        torch.set_rng_state(training.random["cpu"])
        if "cuda" in training.random:
            torch.cuda.set_rng_state(training.random["cuda"], device_of(training.spec))
        yield
        training.random = _generators(training.spec)


def _weights_of(spec: RunSpec, epoch: int) -> Path:
    """Where the weights of an epoch wait: under its number, so that they can never stand for another epoch."""
    return Path(spec.folder) / f"weights-{epoch:04d}.safetensors"


def _drop_weights(spec: RunSpec, keep: set[int]) -> None:
    kept = {_weights_of(spec, epoch) for epoch in keep}
    for path in Path(spec.folder).glob("weights-*.safetensors"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _generators(spec: RunSpec) -> dict[str, Tensor]:
    """States of torch's global generators that the run's device uses."""
    device = device_of(spec)
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})
