"""Recipes: the shipped files, every fault at once, digests, rows for the reader."""

import pytest

from sugar_search import catalog
from sugar_search.errors import FileError, InputError, UnknownNameError
from sugar_search.training.recipe import Recipe, load_recipe
from sugar_search.training.recipe_table import describe

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


def test_the_recipes_of_appendices_a_and_b_hold_their_numbers():
    paper = load_recipe("paper-b")
    assert (paper.epochs, paper.batch_size, paper.optimizer.lr, paper.optimizer.momentum) == (50, 128, 0.001, 0.0)
    assert (paper.schedule.milestones, paper.selection.metric, paper.selection.epoch) == ((100,), "accuracy", "best")
    assert (paper.validation.split, paper.validation.share, paper.validation.seed) == ("share", 0.1, "run")
    assert not paper.augment.by_image and paper.augment.crop == "none" and paper.augment.flip == 0
    assert paper.arch == {"resnet18": {"stem": "3x3"}, "vgg16": {"batch_norm": True}}
    dying = load_recipe("dying_relu")
    assert (dying.epochs, dying.batch_size, dying.optimizer.name, dying.optimizer.lr) == (250, 64, "adam", 0.005)
    assert dying.loss == "mse-sum" and dying.schedule.milestones == (100, 150, 200, 225)


# Appendices F and G, and what facts.md adds from the codes that they follow; read from the dumped recipe by path.
SHARED = {
    "epochs": 300,
    "batch_size": 200,
    "label_smoothing": 0.1,
    "optimizer.name": "adamw",
    "optimizer.betas": [0.9, 0.999],
    "optimizer.eps": 1e-8,
    "optimizer.weight_decay": 0.05,
    "optimizer.decay_one_dimensional": False,
    "schedule.name": "cosine",
    "schedule.warmup_epochs": 20.0,
    "selection.metric": "accuracy",
    "selection.epoch": "best",
    "augment.auto_augment": "rand-m9-mstd0.5-inc1",
    "augment.color_jitter": 0.4,
    "augment.color_jitter_forced": False,
    "augment.erase_probability": 0.25,
    "augment.erase_mode": "pixel",
    "augment.erase_count": 1,
    "mix.mixup_alpha": 0.8,
    "mix.cutmix_alpha": 1.0,
    "mix.switch_probability": 0.5,
    "mix.mode": "batch",
    "ema": None,
}
OWN = {
    "paper-f": {
        "accumulate": 1,
        "gradient_clip": 5.0,
        "optimizer.lr": 5e-4,
        "optimizer.lr_reference_batch": 512,
        "schedule.warmup_lr": 5e-7,
        "schedule.final_lr": 5e-6,
        "validation.split": "share",
        "validation.share": 0.05,
        "augment.resize": 224,
        "augment.crop": "random-resized",
        "augment.interpolation": "bicubic",
        "arch": {"swin_t": {"drop_path": 0.2}},
    },
    "paper-g": {
        "accumulate": 4,
        "gradient_clip": None,
        "optimizer.lr": 4e-3,
        "optimizer.lr_reference_batch": None,
        "schedule.warmup_lr": 0.0,
        "schedule.final_lr": 1e-6,
        "augment.resize": None,
        "augment.crop": "padded",
        "augment.padding": 4,
        "augment.flip": 0.5,
        "arch": {"conv2next": {"drop_path": 0.0}},
    },
}


@pytest.mark.parametrize("name", OWN)
def test_the_recipes_of_appendices_f_and_g_hold_their_numbers(name):
    content = load_recipe(name).model_dump(mode="json")
    for path, expected in {**SHARED, **OWN[name]}.items():
        value = content
        for key in path.split("."):
            value = value[key]
        assert value == expected, path


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("paper-b", "momentum weight_decay gamma epoch seed normalize batch_norm"),
        ("paper-f", "warmup_prefix seed resize evaluate_crop color_jitter_forced normalize"),
        ("paper-g", "seed color_jitter_forced normalize drop_path"),
    ],
)
def test_what_the_paper_leaves_open_is_marked_with_the_other_value(name, keys):
    lines = catalog.find("recipes")[name].read_text().splitlines()
    for key in keys.split():
        (line,) = [line for line in lines if line.startswith(f"{key} = ")]
        assert "# open: " in line, line


def test_other_epochs_shorten_the_warm_up_alike_and_digests_tell_them_apart():
    whole, short = load_recipe("paper-g"), load_recipe("paper-g", epochs=30)
    assert (short.epochs, short.schedule.warmup_epochs) == (30, 2.0)
    assert short.digest != whole.digest and load_recipe("paper-g", epochs=300) == whole


@pytest.mark.parametrize("name", catalog.names("recipes"))
def test_every_key_has_a_row_with_value_and_meaning(name):
    rows = describe(name)
    assert rows == describe(load_recipe(name)) and len({key for key, _, _ in rows}) == len(rows)
    assert all(key and value and meaning for key, value, meaning in rows)


def test_rows_show_values_as_the_file_writes_them():
    rows = {key: value for key, value, _ in describe("paper-g")}
    assert rows["optimizer.betas"] == "[0.9, 0.999]" and rows["augment.color_jitter_forced"] == "false"
    assert rows["arch.conv2next.drop_path"] == "0" and rows["ema"] == rows["gradient_clip"] == "-"
    assert rows["optimizer.lr"] == "0.004" and rows["augment.auto_augment"] == "rand-m9-mstd0.5-inc1"
    assert next(value for key, value, _ in describe("digits") if key.startswith("optimizer.")) == "sgd"


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
        "optimizer.betas: is unknown, allowed here are lr, lr_reference_batch, decay_one_dimensional, name, momentum",
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
        (
            ("lr = 0.1", 'lr = 0.1\n[validation]\nsplit = "share"'),
            'validation: split = "share" needs share, such as 0.1',
        ),
        (
            ("lr = 0.1", "lr = 0.1\n[validation]\nshare = 0.1"),
            'validation: share needs split = "share" or "auto", not "fixed"',
        ),
        (
            ("lr = 0.1", 'lr = 0.1\n[validation]\nsplit = "share"\nshare = 0.6'),
            "validation.share: must be less than or equal to 0.5, not 0.6",
        ),
        (
            ("lr = 0.1", 'lr = 0.1\n[validation]\nsplit = "share"\nshare = 0.1\nseed = -1'),
            'validation.seed: must be "run" or a whole number from 0, not -1',
        ),
        (("lr = 0.1", 'lr = 0.1\n[augment]\nauto_augment = "random"'), "augment.auto_augment: "),
        (("lr = 0.1", "lr = 0.1\n[augment]\nevaluate_crop = 0.9"), "augment: evaluate_crop needs resize"),
        (("lr = 0.1", "lr = 0.1\n[mix]"), "mix: needs mixup_alpha or cutmix_alpha above 0"),
        (("batch_size = 8", "batch_size = 7\nmix = {mixup_alpha = 0.1}"), "mix needs an even batch_size"),
        (("lr = 0.1", "lr = 0.1\n[ema]\ndecay = 1.0"), "ema.decay: must be less than 1, not 1.0"),
        (
            ("lr = 0.1", "lr = 0.1\n[arch.resnet81]\nwide = true"),
            "arch: arch must be a known name, got 'resnet81'; did you mean resnet18",
        ),
        (
            ("lr = 0.1", "lr = 0.1\n[arch.resnet18]\nwide = [1]"),
            "arch.resnet18.wide: must be true, false, a finite number or text, not [1]",
        ),
        (
            ("lr = 0.1", 'lr = 0.1\n[schedule]\nname = "cosine"\nwarmup_epochs = 3'),
            "schedule.warmup_epochs must be below epochs",
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
    assert load_text(tmp_path, GOOD + "momentum = 0.0\nweight_decay = 0.0\n").digest == digest  # as they are anyway
    assert load_text(tmp_path, GOOD.replace("0.1", "0.2")).digest != digest
    assert load_text(tmp_path, GOOD + "[mix]\nmixup_alpha = 0.8\n").digest != digest
    assert load_text(tmp_path, GOOD, epochs=4).digest != digest


def test_auto_takes_the_datasets_own_validation_split_and_cuts_one_out_where_there_is_none():
    from dataclasses import replace

    from sugar_search.data._load import load_dataset
    from sugar_search.training.network import validated

    digits, table = load_dataset("digits"), load_recipe("own-data").validation
    assert validated(digits, table, seed=1).validation is digits.validation
    bare = validated(replace(digits, validation=None), table, seed=1)
    assert (len(bare.train), len(bare.validation)) == (540, 60)
    with pytest.raises(ValueError, match="needs share"):
        type(table)(split="auto")
