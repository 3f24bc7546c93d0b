"""Learning rates as a pure function of the step: nothing to save, and a resumed run gets the same numbers."""

import math

from sugar_search.training.recipe import Recipe
from sugar_search.training.recipe_parts import Constant, Cosine, MultiStep, OneCycle

__all__ = ["learning_rate"]


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one step.

    Cosine rates equal those of timm's CosineLRScheduler with `cycle_limit=1`, at steps or at epochs.

    Args:
        recipe: whose optimizer and schedule apply.
        step: steps finished since the start of training, 0 for the first.
        steps_per_epoch: steps in one epoch.
    """
    reference = recipe.optimizer.lr_reference_batch
    scale = 1.0 if reference is None else recipe.step_size / reference
    peak = recipe.optimizer.lr
    match recipe.schedule:
        case Constant():
            rate = peak
        case MultiStep() as schedule:
            finished = step // steps_per_epoch
            rate = peak * schedule.gamma ** sum(milestone <= finished for milestone in schedule.milestones)
            warmup = int(schedule.warmup_epochs * steps_per_epoch)
            if step < warmup:
                rate = schedule.warmup_lr + step * (peak - schedule.warmup_lr) / warmup
        case Cosine() as schedule:
            unit = steps_per_epoch if schedule.every == "step" else 1
            rate = _cosine(schedule, peak, step * unit // steps_per_epoch, unit, recipe.epochs)
        case OneCycle() as schedule:
            rate = peak * _one_cycle(schedule, step, max(steps_per_epoch * recipe.epochs - 1, 1))
    return scale * rate


def _cosine(schedule: Cosine, peak: float, at: int, unit: int, epochs: int) -> float:
    """Rate after `at` steps or epochs, of which `unit` make an epoch."""
    warmup, length = int(schedule.warmup_epochs * unit), epochs * unit
    if at < warmup:
        return schedule.warmup_lr + at * (peak - schedule.warmup_lr) / warmup
    if schedule.warmup_prefix:
        at, length = at - warmup, length - warmup
    return schedule.final_lr + (peak - schedule.final_lr) * (1 - _half_cosine(at / length))


def _one_cycle(schedule: OneCycle, step: int, last: int) -> float:
    """Rate over peak rate."""
    peak = schedule.warmup_share * last
    if step < peak:
        return schedule.start_ratio + (1 - schedule.start_ratio) * _half_cosine(step / peak)
    return 1 - (1 - schedule.final_ratio) * _half_cosine((step - peak) / max(last - peak, 1e-9))


def _half_cosine(share: float) -> float:
    """From 0 at share 0 to 1 at share 1, flat at both ends."""
    return (1 - math.cos(math.pi * min(share, 1.0))) / 2
