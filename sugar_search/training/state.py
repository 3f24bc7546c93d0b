"""All that a training is between two epochs: made anew, put on disk, taken up again."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sugar_search.data._dataset import Dataset
from sugar_search.training import checkpoint
from sugar_search.training.network import build_network, build_optimizer, device_of, load_data
from sugar_search.training.run import EpochRecord, RunSpec

__all__ = ["FINISHED", "WEIGHTS", "Training", "finish", "finished", "own_random", "start", "store"]

logger = logging.getLogger("sugar_search")

WEIGHTS, FINISHED = "weights.safetensors", "finished.json"


@dataclass(eq=False)
class Training:
    """One run between two epochs.

    Attributes:
        spec: what is trained.
        data: on the run's device.
        model: on the run's device.
        optimizer: over all its parameters.
        order: draws the order of the samples; its own, so that it does not depend on what the network draws.
        random: states of torch's global generators, for networks that draw numbers.
        history: the finished epochs.
    """

    spec: RunSpec
    data: Dataset
    model: nn.Module
    optimizer: torch.optim.Optimizer
    order: torch.Generator
    random: dict[str, Tensor]
    history: list[EpochRecord]


def start(spec: RunSpec) -> Training:
    """A new training, or the one that the newest checkpoint in the run's folder holds.

    Raises:
        InputError: arch, dataset, surrogate or device do not exist, or do not fit together.
        FileError: the folder cannot be read.
    """
    torch.set_num_threads(spec.threads)
    data = load_data(spec)
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        model = build_network(spec, data)
        optimizer = build_optimizer(spec.recipe, model)
        order = torch.Generator().manual_seed(spec.seed)
        training = Training(spec, data, model, optimizer, order, _generators(spec), [])
    saved = checkpoint.load_latest(Path(spec.folder))
    if saved and _same_run(spec, saved.state["run"]):
        extra = checkpoint.unpack(saved, model, optimizer)
        order.set_state(extra.pop("order"))
        training.random = extra
        training.history = [EpochRecord.from_dict(each) for each in saved.state["history"]]
    return training


def store(training: Training) -> None:
    """Writes a checkpoint into the run's folder.

    Raises:
        FileError: the folder cannot be written.
    """
    extra = {"order": training.order.get_state(), **training.random}
    tensors, scalars = checkpoint.pack(training.model, training.optimizer, **extra)
    saved = checkpoint.Checkpoint(len(training.history), tensors, {**scalars, **_record(training)})
    checkpoint.save(Path(training.spec.folder), saved)


def finish(training: Training) -> None:
    """Writes the records of a complete run, then removes its checkpoints."""
    folder = Path(training.spec.folder)
    checkpoint.write_atomically(folder / FINISHED, json.dumps(_record(training)).encode())
    checkpoint.clear(folder)


def finished(spec: RunSpec) -> list[EpochRecord]:
    """The records of a complete run; empty when it is not complete, or another run's."""
    folder = Path(spec.folder)
    try:
        record = json.loads((folder / FINISHED).read_bytes())
        history, digest = [EpochRecord.from_dict(each) for each in record["history"]], record["run"]
    except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: the epochs are trained again
        return []
    complete = _same_run(spec, digest) and (folder / WEIGHTS).exists()
    return history if complete else []


@contextmanager
def own_random(training: Training) -> Iterator[None]:
    """The block draws from the run's own random state: other runs of the process do not shift it, nor it theirs."""
    with torch.random.fork_rng():
        torch.set_rng_state(training.random["cpu"])
        if "cuda" in training.random:
            torch.cuda.set_rng_state(training.random["cuda"], device_of(training.spec))
        yield
        training.random = _generators(training.spec)


def _record(training: Training) -> dict[str, object]:
    return {"run": training.spec.digest, "history": [each.to_dict() for each in training.history]}


def _same_run(spec: RunSpec, digest: str) -> bool:
    """Whether what a folder holds is of this run; else (an older version wrote it, say) the run is trained anew."""
    same = digest == spec.digest
    if not same:
        logger.warning("%s holds another run: not used", spec.folder)
    return same


def _generators(spec: RunSpec) -> dict[str, Tensor]:
    """States of torch's global generators that the run's device uses."""
    device = device_of(spec)
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})
