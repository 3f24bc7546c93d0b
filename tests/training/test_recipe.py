"""Recipes and schedules: the shipped files, every fault at once, digests, learning rates."""

import math

import pytest

from sugar_search import catalog
from sugar_search.errors import FileError, InputError, UnknownNameError
from sugar_search.training.recipe import Constant, Cosine, MultiStep, OneCycle, Recipe, load_recipe
from sugar_search.training.schedule import lr_ratio

GOOD = 'epochs = 3\nbatch_size = 8\n[optimizer]\nname = "sgd"\nlr = 0.1\n'


def load_text(tmp_path, text, **options):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load_recipe(path, **options)


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_every_shipped_recipe_loads_describes_itself_and_survives_json(name):
    recipe = load_recipe(name)
    assert recipe.description == catalog.summary("recipes", name)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Recipe.model_validate(recipe.model_dump(mode="json")).digest == recipe.digest


def test_the_papers_recipes_hold_the_papers_numbers():
    paper = load_recipe("paper-b")
    assert (paper.epochs, paper.batch_size, paper.optimizer.lr, paper.optimizer.momentum) == (50, 128, 0.001, 0.0)
    assert (paper.schedule.milestones, paper.selection.metric, paper.selection.epoch) == ((100,), "accuracy", "best")
    dying = load_recipe("dying_relu")
    assert (dying.epochs, dying.batch_size, dying.optimizer.name, dying.optimizer.lr) == (250, 64, "adam", 0.005)
    assert dying.loss == "mse-sum" and dying.schedule.milestones == (100, 150, 200, 225)


def test_all_faults_of_a_file_are_told_in_one_line(tmp_path):
    text = """
        epoch = 3
        batch_size = 0
        precision = "float16"
        label_smoothing = nan
        gradient_clip = "1"
        "a\\nb" = 2
        [optimizer]
        name = "sgd"
        lr = -1
        betas = [0.9, 0.9]
        [schedule]
        name = "mulstep"
        [selection]
        epoch = "first"
        """
    with pytest.raises(FileError) as caught:
        load_text(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message and "mine.toml" in message and "11 faults" in message
    for part in [
        "epochs: is missing",
        "epoch: is unknown, allowed here are description, epochs",
        "batch_size: must be greater than or equal to 1, not 0",
        "precision: must be auto, float32 or bfloat16, not 'float16'",
        "label_smoothing: must be a finite number, not nan",
        "gradient_clip: must be a valid number, not '1'",
        r"'a\nb': is unknown",
        "optimizer.lr: must be greater than 0, not -1",
        "optimizer.betas: is unknown, allowed here are name, lr, momentum, nesterov, weight_decay",
        "schedule.name: must be one of constant, multistep, cosine, one-cycle, not 'mulstep'",
        "selection.epoch: must be last or best, not 'first'",
    ]:
        assert part in message


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("lr = 0.1", "lr = 0.1\nnesterov = true"), "optimizer: nesterov needs momentum > 0"),
        (('name = "sgd"\n', ""), "optimizer.name: is missing"),
        (('name = "sgd"', "name = [1]"), "optimizer.name: must be one of sgd, adam, adamw"),
        (('[optimizer]\nname = "sgd"\nlr = 0.1', "optimizer = 3"), "optimizer"),
        (("epochs = 3", "epochs = 3.0"), "epochs: must be a valid integer, not 3.0"),
        (("lr = 0.1", 'lr = 0.1\n[schedule]\nname = "multistep"\nmilestones = []'), "schedule.milestones"),
        (
            ("lr = 0.1", 'lr = 0.1\n[schedule]\nname = "multistep"\nmilestones = [2, 0]'),
            "schedule.milestones.1: must be",
        ),
    ],
)
def test_single_faults(tmp_path, change, told):
    with pytest.raises(FileError) as caught:
        load_text(tmp_path, GOOD.replace(*change))
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_epochs_can_be_overridden_within_reason(tmp_path):
    assert load_text(tmp_path, GOOD, epochs=7).epochs == 7
    with pytest.raises(InputError, match="1 or more, got 0"):
        load_recipe("digits", epochs=0)


def test_unknown_recipes_missing_files_and_broken_toml_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="paper-b"):
        load_recipe("paper-c")
    with pytest.raises(FileError, match="readable"):
        load_recipe(tmp_path / "absent.toml")
    with pytest.raises(FileError, match="valid TOML"):
        load_text(tmp_path, "epochs = = 3")


def test_digest_follows_content_and_not_wording(tmp_path):
    digest = load_text(tmp_path, GOOD).digest
    assert load_text(tmp_path, 'description = "d"  # note\n' + GOOD.replace("0.1", "1e-1")).digest == digest
    assert load_text(tmp_path, GOOD.replace("0.1", "0.2")).digest != digest
    assert load_text(tmp_path, GOOD, epochs=4).digest != digest


def test_multistep_drops_after_finished_epochs():
    schedule = MultiStep(name="multistep", milestones=(2, 3), gamma=0.1)
    ratios = [lr_ratio(schedule, step, 5, 4) for step in range(20)]
    assert ratios == pytest.approx([1.0] * 10 + [0.1] * 5 + [0.01] * 5)


@pytest.mark.parametrize(
    "schedule",
    [
        OneCycle(name="one-cycle", warmup_share=0.25, start_ratio=0.1, final_ratio=0.01),
        Cosine(name="cosine", warmup_share=0.25, start_ratio=0.1, final_ratio=0.01),
    ],
)
def test_warm_schedules_rise_to_the_peak_and_fall_to_the_end(schedule):
    ratios = [lr_ratio(schedule, step, 101, 4) for step in range(404)]
    peak = ratios.index(max(ratios))
    assert ratios[0] == pytest.approx(0.1) and ratios[-1] == pytest.approx(0.01)
    assert abs(peak - 0.25 * 403) <= 1 and ratios[peak] == pytest.approx(1, abs=1e-3)
    assert ratios[: peak + 1] == sorted(ratios[: peak + 1]) and ratios[peak:] == sorted(ratios[peak:], reverse=True)


def test_cosine_without_warmup_is_half_a_cosine_and_constant_is_constant():
    cosine = Cosine(name="cosine")
    for step in range(11):
        assert lr_ratio(cosine, step, 11, 1) == pytest.approx((1 + math.cos(math.pi * step / 10)) / 2)
    assert lr_ratio(cosine, 0, 1, 1) == 1.0  # a training of a single step
    assert {lr_ratio(Constant(), step, 3, 2) for step in range(6)} == {1.0}
