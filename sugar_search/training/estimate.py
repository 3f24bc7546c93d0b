"""What a run costs before it is made: a few measured steps, multiplied out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from sugar_search.data._dataset import Dataset, Split
from sugar_search.training.network import autocast, build_network, build_optimizer, device_of, forked_random
from sugar_search.training.run import RunSpec

__all__ = ["Cost", "cost_of"]

CPU_SAMPLES = 16  # on a CPU the time per sample hardly depends on the batch
STEPS = {"cpu": 2, "cuda": 10}
FORWARD_SHARE = 1 / 3  # of a training step, for the validation samples


@dataclass(frozen=True)
class Cost:
    """What one run needs.

    Attributes:
        seconds: of computing, without reading and augmenting images.
        disk_bytes: of its folder while it runs: two checkpoints with the optimizer's state, and its weights.
    """

    seconds: float
    disk_bytes: int


def cost_of(spec: RunSpec, input_shape: tuple[int, ...], outputs: int, train: int, validation: int) -> Cost:
    """Times training steps of the run's network on random samples.

    Args:
        spec: the run.
        input_shape: of a sample of its dataset.
        outputs: number of classes.
        train: samples in an epoch.
        validation: samples evaluated after it.
    """
    recipe, device = spec.recipe, device_of(spec)
    samples = recipe.batch_size if device.type == "cuda" else min(recipe.batch_size, CPU_SAMPLES)
    with _threads(spec.threads), forked_random(device):
        model = build_network(spec, _stand_in(input_shape, outputs)).train()
        optimizer = build_optimizer(recipe, model)
        inputs = torch.zeros(samples, *recipe.augment.seen(input_shape), device=device)
        targets = torch.zeros(samples, dtype=torch.int64, device=device)

        def step() -> None:
            with autocast(recipe, device):
                loss = torch.nn.functional.cross_entropy(model(inputs).float(), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()

        step()
        optimizer.step()  # allocates and chooses kernels
        _wait(device)
        began = time.perf_counter()
        for _ in range(STEPS[device.type]):
            step()
        optimizer.step()  # one for several passes, where a recipe accumulates more
        _wait(device)
        per_sample = (time.perf_counter() - began) / STEPS[device.type] / samples
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    moments = sum(
        v.numel() * v.element_size() for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v)
    )
    seconds = recipe.epochs * per_sample * (train + FORWARD_SHARE * validation)
    averages = weights if recipe.ema else 0
    return Cost(seconds, 2 * (weights + moments + averages) + 3 * weights)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _stand_in(input_shape: tuple[int, ...], outputs: int) -> Dataset:
    """A dataset of one sample: all that building a network asks of it is its shape."""
    split = Split(torch.zeros(1, *input_shape), torch.zeros(1, dtype=torch.int64))
    return Dataset("stand-in", "classification", outputs, split, split, split)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
