"""Learning rates as a function of the step, against timm's schedulers and against their definition."""

import math

import pytest
import torch

from sugar_search.training.recipe import Recipe, load_recipe
from sugar_search.training.schedule import learning_rate
from sugar_search.vision import load


def recipe_of(schedule, *, epochs=4, lr=1.0, **optimizer):
    content = {"epochs": epochs, "batch_size": 8, "optimizer": {"name": "sgd", "lr": lr, **optimizer}}
    return Recipe.model_validate({**content, "schedule": schedule})


def timm_rates(recipe, steps_per_epoch):
    """Every step's rate of timm's CosineLRScheduler, set up as Swin's code does it."""
    schedule, scale = recipe.schedule, 1.0
    if reference := recipe.optimizer.lr_reference_batch:
        scale = recipe.batch_size * recipe.accumulate / reference
    weights = [torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD(weights, lr=scale * recipe.optimizer.lr)
    by_step = schedule.every == "step"
    unit = steps_per_epoch if by_step else 1
    warmup = int(schedule.warmup_epochs * unit)
    scheduler = load("timm.scheduler").CosineLRScheduler(
        optimizer,
        t_initial=recipe.epochs * unit - (warmup if schedule.warmup_prefix else 0),
        lr_min=scale * schedule.final_lr,
        warmup_lr_init=scale * schedule.warmup_lr,
        warmup_t=warmup,
        cycle_limit=1,
        t_in_epochs=not by_step,
        warmup_prefix=schedule.warmup_prefix,
    )
    for step in range(recipe.epochs * steps_per_epoch):
        scheduler.step_update(step)
        scheduler.step(step // steps_per_epoch)
        yield optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("every", ["step", "epoch"])
@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("warmup", [0.0, 2.0])
def test_cosine_equals_timm_at_every_step(every, prefix, warmup):
    schedule = {"name": "cosine", "warmup_epochs": warmup, "warmup_lr": 1e-4, "final_lr": 1e-3}
    recipe = recipe_of({**schedule, "warmup_prefix": prefix, "every": every}, epochs=9, lr=0.3, lr_reference_batch=24)
    ours = [learning_rate(recipe, step, 11) for step in range(99)]
    assert ours == pytest.approx(list(timm_rates(recipe, 11)), rel=1e-12) and max(ours) <= 0.1
    assert (len(set(ours)) <= 9) == (every == "epoch")


@pytest.mark.parametrize(("name", "steps", "peak"), [("paper-f", 475, 5e-4 * 200 / 512), ("paper-g", 56, 4e-3)])
def test_the_papers_rates_equal_timm_at_every_step_of_300_epochs(name, steps, peak):
    recipe = load_recipe(name)
    expected = list(timm_rates(recipe, steps))
    ours = [learning_rate(recipe, step, steps) for step in range(300 * steps)]
    assert ours == pytest.approx(expected, rel=1e-9) and max(ours) == ours[20 * steps] == pytest.approx(peak)
    assert [ours[epoch * steps] for epoch in (0, 20)] == pytest.approx(
        [5e-7 * 200 / 512 if name == "paper-f" else 0, peak]
    )
    assert ours[10 * steps] == pytest.approx((ours[0] + peak) / 2)


def test_a_reference_batch_scales_every_rate_and_counts_accumulation():
    schedule = {"name": "cosine", "warmup_epochs": 1.0, "warmup_lr": 0.2, "final_lr": 0.1}
    plain = recipe_of(schedule)
    scaled = recipe_of(schedule, lr_reference_batch=16).model_copy(update={"accumulate": 4})
    for step in range(20):
        assert learning_rate(scaled, step, 5) == pytest.approx(2 * learning_rate(plain, step, 5))


def test_multistep_drops_after_finished_epochs_and_may_warm_up():
    schedule = {"name": "multistep", "milestones": [2, 3], "gamma": 0.1}
    rates = [learning_rate(recipe_of(schedule), step, 5) for step in range(20)]
    assert rates == pytest.approx([1.0] * 10 + [0.1] * 5 + [0.01] * 5)
    warm = recipe_of({**schedule, "warmup_epochs": 1.0, "warmup_lr": 0.5})
    assert [learning_rate(warm, step, 5) for step in range(20)] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, *rates[5:]])


def test_one_cycle_rises_to_the_peak_and_falls_to_the_end():
    recipe = recipe_of({"name": "one-cycle", "warmup_share": 0.25, "start_ratio": 0.1, "final_ratio": 0.01})
    ratios = [learning_rate(recipe, step, 101) for step in range(404)]
    peak = ratios.index(max(ratios))
    assert ratios[0] == pytest.approx(0.1) and ratios[-1] == pytest.approx(0.01)
    assert abs(peak - 0.25 * 403) <= 1 and ratios[peak] == pytest.approx(1, abs=1e-3)
    assert ratios[: peak + 1] == sorted(ratios[: peak + 1]) and ratios[peak:] == sorted(ratios[peak:], reverse=True)


def test_cosine_without_warmup_is_half_a_cosine_and_constant_is_constant():
    cosine = recipe_of({"name": "cosine"}, epochs=1)
    for step in range(10):
        assert learning_rate(cosine, step, 10) == pytest.approx((1 + math.cos(math.pi * step / 10)) / 2)
    assert learning_rate(cosine, 0, 1) == 1.0  # a training of a single step
    constant = recipe_of({"name": "constant"}, lr=0.25)
    assert {learning_rate(constant, step, 3) for step in range(6)} == {0.25}
