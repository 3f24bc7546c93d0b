"""Learning rates as a pure function of the step: nothing to save, and a resumed run gets the same numbers."""

import math

from sugar_search.training.recipe import Constant, Cosine, MultiStep, OneCycle

__all__ = ["lr_ratio"]


def lr_ratio(schedule: Constant | MultiStep | Cosine | OneCycle, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Learning rate over peak learning rate.

    Args:
        schedule: of the recipe.
        step: steps finished since the start of training, 0 for the first.
        steps_per_epoch: steps in one epoch.
        epochs: epochs of the whole training.
    """
    match schedule:
        case Constant():
            return 1.0
        case MultiStep():
            finished = step // steps_per_epoch
            return schedule.gamma ** sum(milestone <= finished for milestone in schedule.milestones)
        case Cosine() | OneCycle():
            last = max(steps_per_epoch * epochs - 1, 1)
            peak = schedule.warmup_share * last
            if step < peak:
                rise = step / peak
                rise = rise if isinstance(schedule, Cosine) else _half_cosine(rise)
                return schedule.start_ratio + (1 - schedule.start_ratio) * rise
            return 1 - (1 - schedule.final_ratio) * _half_cosine((step - peak) / max(last - peak, 1e-9))


def _half_cosine(share: float) -> float:
    """From 0 at share 0 to 1 at share 1, flat at both ends."""
    return (1 - math.cos(math.pi * min(share, 1.0))) / 2
