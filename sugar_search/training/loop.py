"""The training loop: one run, one epoch at a time.

An epoch is a pass over the training samples (`epoch`), whose batches `feed` makes, and one over the validation samples.
On a CPU, same seed and threads give the same bits, interrupted or not, with any number of loader processes.

ResNet-18 with ReLU on `digits` (600 images of 8x8), recipe `digits` at 5 epochs, one thread of an AMD EPYC, torch 2.13:
2.1 s an epoch; test accuracy 97.2, 96.6, 97.0, 96.9, 97.1 % for seeds 1, 10, 20, 25, 42 (mean 96.96, deviation 0.24).
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from sugar_search.errors import DivergedError, FileError
from sugar_search.training import checkpoint
from sugar_search.training.augment import evaluated, look_of
from sugar_search.training.epoch import peak_memory, run_epoch
from sugar_search.training.metrics import evaluate
from sugar_search.training.network import autocast, build_network, device_of, forked_random, load_data
from sugar_search.training.run import EpochRecord, Metrics, RunSpec
from sugar_search.training.state import WEIGHTS, Training, finish, finished, keep_weights, own_random, start, store

__all__ = ["evaluate_test", "train"]


def train(spec: RunSpec) -> Iterator[EpochRecord]:
    """Trains one network and yields a record after each epoch; closing the generator pauses the run.

    A run goes on from the newest checkpoint in `spec.folder`; records of finished epochs are yielded again first. An
    epoch is on disk before it is yielded. After the last epoch `weights.safetensors` holds the one that the recipe
    selects, and the checkpoints are gone. The caller's random state is left alone.

    Raises:
        DivergedError: a loss or a weight became NaN or infinite.
        InputError: arch, dataset, surrogate or device do not exist, or do not fit together.
        FileError: the folder cannot be written.
    """
    if records := finished(spec):
        yield from records
        return
    training = start(spec)
    # Only the forward pass of training is compiled: evaluation watches modules, and names of weights stay as they are.
    forward = _compiled(training.model) if spec.compile else training.model
    yield from tuple(training.history)
    for epoch in range(len(training.history) + 1, spec.recipe.epochs + 1):
        torch.set_num_threads(spec.threads)  # another run of this process may have changed it
        with own_random(training):
            training.history.append(_epoch(training, epoch, forward))
        keep_weights(training)
        if epoch < spec.recipe.epochs:
            store(training)
        else:  # before the yield: a caller may stop at the last record
            finish(training)
        yield training.history[-1]


def evaluate_test(spec: RunSpec) -> Metrics:
    """Metrics of a complete run's selected weights on the test split; nothing else reads that split.

    Raises:
        FileError: the run is not complete, or its weights are damaged.
    """
    if not finished(spec):
        raise FileError("only a complete run can be tested", spec.folder, "train it to its last epoch first")
    torch.set_num_threads(spec.threads)
    device = device_of(spec)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    data = load_data(spec)
    with forked_random(device):
        model = build_network(spec, data)
    checkpoint.load_weights(Path(spec.folder) / WEIGHTS, model)
    prepare = partial(evaluated, look_of(spec.recipe.augment, data, device))
    return evaluate(model, data.test, spec.recipe, partial(autocast, spec.recipe, device), prepare)


def _epoch(training: Training, epoch: int, forward: Callable[[Tensor], Tensor]) -> EpochRecord:
    """One pass over the training samples, then one over the validation samples."""
    recipe, look = training.spec.recipe, training.feed.look
    began = time.perf_counter()
    done = run_epoch(training, epoch, forward)
    _finite(epoch, "the training loss", done.loss)
    if not torch.stack([weights.isfinite().all() for weights in training.model.parameters()]).all():
        raise DivergedError(epoch, "a weight is NaN or infinite")
    assert training.data.validation is not None
    context, prepare = partial(autocast, recipe, look.device), partial(evaluated, look)
    validation = evaluate(training.judged, training.data.validation, recipe, context, prepare)
    _finite(epoch, "the validation loss", validation.loss)
    seconds, speed = time.perf_counter() - began, done.samples / done.seconds
    return EpochRecord(epoch, done.loss, validation, done.lr, seconds, speed, peak_memory(look.device))


def _compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The network's forward pass, compiled at its first call.

    Networks of one class share a cache of eight compilations, after which torch goes on uncompiled; as each surrogate
    is another program, a process that trains one after another clears the cache before each.
    """
    torch.compiler.reset()
    return torch.compile(model)


def _finite(epoch: int, what: str, value: float) -> None:
    if not math.isfinite(value):
        raise DivergedError(epoch, f"{what} is {value}")
