"""One pass over the training samples: forward, backward, step. Nothing in it waits for the device until its end."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import ModuleType

import torch
from torch import Tensor, nn

from sugar_search.training.average import update
from sugar_search.training.feed import batches, cut
from sugar_search.training.metrics import batch_loss
from sugar_search.training.network import autocast
from sugar_search.training.schedule import learning_rate
from sugar_search.training.state import Training

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = ["Pass", "peak_memory", "run_epoch"]


@dataclass(frozen=True)
class Pass:
    """What one pass gave.

    Attributes:
        loss: mean over the samples used, or over the batches with "mse-sum"; with label smoothing and mixing.
        lr: learning rate of the last step.
        samples: used.
        seconds: wall time.
    """

    loss: float
    lr: float
    samples: int
    seconds: float


def run_epoch(training: Training, epoch: int, forward: Callable[[Tensor], Tensor]) -> Pass:
    """Trains the network for one epoch.

    Gradients of a step are those of its samples' mean loss, however many forward passes they are split into (of their
    summed loss with "mse-sum").

    Args:
        training: what is trained; its optimizer, average and generators move on.
        epoch: counted from 1.
        forward: the network, or its compiled form.
    """
    recipe, model, optimizer, device = (
        training.spec.recipe,
        training.model,
        training.optimizer,
        training.feed.look.device,
    )
    context = partial(autocast, recipe, device)
    summed, mixed = recipe.loss == "mse-sum", recipe.mix is not None
    began = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    model.train()
    steps = cut(recipe, torch.randperm(len(training.data.train), generator=training.order))
    feed = batches(training.feed, epoch, steps, training.order)
    total = torch.zeros((), dtype=torch.float64, device=device)  # stays there: no step waits for the device
    lr = 0.0
    for step, parts in enumerate(steps, start=(epoch - 1) * len(steps)):
        lr = learning_rate(recipe, step, len(steps))
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad(set_to_none=True)
        size = sum(map(len, parts))
        for inputs, targets in islice(feed, len(parts)):
            with context():
                outputs = forward(inputs)
            loss = batch_loss(recipe, outputs, targets, smooth=True, mixed=mixed)
            (loss if summed or len(parts) == 1 else loss * (len(inputs) / size)).backward()
            total += loss.detach() * (1 if summed else len(inputs))
        if recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        if training.average is not None and recipe.ema is not None:
            update(training.average, model, recipe.ema.decay)
    samples = sum(len(part) for parts in steps for part in parts)
    terms = sum(map(len, steps)) if summed else samples
    return Pass(total.item() / terms, lr, samples, time.perf_counter() - began)


def peak_memory(device: torch.device) -> int | None:
    """Bytes: on CUDA the most that torch held in this epoch, on a CPU the most this process has held so far.

    None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
