"""Datasets: fixed disjoint splits, normalisation, target functions, and what is refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from sugar_search import catalog
from sugar_search.data._about import default_recipe, facts, is_natural
from sugar_search.data._dataset import Dataset, Split
from sugar_search.data._load import load_dataset
from sugar_search.errors import InputError, UnknownNameError

BUNDLED = [name for name in catalog.names("datasets") if not is_natural(name)]  # the others need files
TEXTS = [
    "/".join((name, *variant))
    for name in BUNDLED
    for variant in [(), *((variant,) for variant in catalog.load_module("datasets", name).VARIANTS)]
]


def images(train, test=4):
    """A dataset whose every pixel says which image it belongs to."""
    parts = [torch.arange(n, dtype=torch.int64) for n in (train, test)]
    made = [Split((part % 251).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2), part) for part in parts]
    return Dataset("made", "classification", train, made[0], None, made[1])


def splits(dataset):
    return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}


@pytest.mark.parametrize("text", TEXTS)
def test_every_dataset_has_three_finite_disjoint_splits(text):
    dataset = load_dataset(text)
    rows = [tuple(row.tolist()) for split in splits(dataset).values() for row in split.inputs.flatten(1)]
    assert len(rows) - len(set(rows)) <= 2  # float32 draws from an interval meet now and then
    for split in splits(dataset).values():
        assert len(split) == len(split.inputs) == len(split.targets) > 0
        assert split.inputs.dtype == torch.float32 and split.inputs.isfinite().all()
        assert tuple(split.inputs.shape[1:]) == dataset.input_shape
        if dataset.task == "classification":
            assert split.targets.dtype == torch.int64 and set(split.targets.tolist()) == set(range(dataset.outputs))
        else:
            assert split.targets.shape == (len(split), dataset.outputs) and split.targets.isfinite().all()


def test_digits_split_is_complete_stratified_and_the_same_for_every_seed():
    dataset = load_dataset("digits")
    assert [len(split) for split in splits(dataset).values()] == [600, 400, 797]
    _, labels = load_digits(return_X_y=True)
    share = torch.bincount(torch.tensor(labels)) / len(labels)
    for split in splits(dataset).values():
        assert ((torch.bincount(split.targets) - share * len(split)).abs() <= 1.0).all()
    assert torch.equal(load_dataset("digits", seed=5).train.inputs, dataset.train.inputs)


def test_digits_are_the_bundled_images_normalised_by_the_training_pixels_alone():
    dataset = load_dataset("digits")
    assert dataset.input_shape == (1, 8, 8)
    assert abs(dataset.train.inputs.mean()) < 1e-5 and abs(dataset.train.inputs.std() - 1) < 1e-5
    assert abs(dataset.test.inputs.mean()) > 1e-4
    images, labels = load_digits(return_X_y=True)
    inputs = torch.cat([split.inputs for split in splits(dataset).values()]).flatten(1)
    inputs = (inputs - inputs.min()) * 16 / (inputs.max() - inputs.min())
    targets = torch.cat([split.targets for split in splits(dataset).values()])
    ours = sorted((tuple(row), label) for row, label in zip(inputs.round().int().tolist(), targets.tolist()))
    assert ours == sorted((tuple(row), label) for row, label in zip(images.astype(int).tolist(), labels.tolist()))


def test_digits_32_are_the_same_images_enlarged():
    small, large = load_dataset("digits"), load_dataset("digits/32")
    assert large.input_shape == (1, 32, 32) and large.name == "digits/32"
    assert torch.equal(small.test.targets, large.test.targets)
    shrunk = torch.nn.functional.avg_pool2d(large.test.inputs, 4)
    assert torch.corrcoef(torch.stack((shrunk.flatten(), small.test.inputs.flatten())))[0, 1] > 0.95


@pytest.mark.parametrize(
    ("variant", "points"),
    [
        ("f1", {(-1.5,): (1.5,), (0.25,): (0.25,)}),
        ("f2", {(-1.0,): (-math.sin(-5.0),), (0.5,): (0.5 * math.sin(2.5),)}),
        ("f3", {(0.0,): (0.0,), (0.1,): (1 + 0.2 * math.sin(0.5),), (-0.1,): (-0.2 * math.sin(0.5),)}),
        ("f4", {(1.0, -1.5): (0.5, 2.5), (-1.0, -0.5): (1.5, 0.5)}),
        ("f4-printed", {(1.0, -1.5): (-0.5, 2.5), (-1.0, -0.5): (-1.5, -0.5)}),
    ],
)
def test_regression_targets(variant, points):
    dimensions, function = catalog.load_module("datasets", "regression").TARGETS[variant]
    for x, y in points.items():
        assert function(torch.tensor([x])).squeeze(0).tolist() == pytest.approx(y)
    dataset = load_dataset(f"regression/{variant}")
    assert [len(split) for split in splits(dataset).values()] == [3000, 1000, 1000]
    assert dataset.input_shape == (dimensions,) and dataset.name == f"regression/{variant}"
    assert torch.equal(function(dataset.train.inputs), dataset.train.targets)


def test_regression_inputs_are_uniform_with_unit_variance():
    inputs = load_dataset("regression/f4").train.inputs
    assert inputs.abs().max() <= math.sqrt(3) and inputs.min() < -1.72 and inputs.max() > 1.72
    assert (inputs.mean(dim=0).abs() < 0.07).all() and ((inputs.var(dim=0) - 1).abs() < 0.07).all()


def test_a_dataset_is_loaded_once_per_process_and_names_are_lenient():
    assert load_dataset("Digits") is load_dataset("digits")
    assert load_dataset("regression/F4_Printed") is load_dataset("regression/f4-printed")


def test_unknown_names_and_variants_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean digits"):
        load_dataset("digit")
    with pytest.raises(UnknownNameError, match="regression/f4"):
        load_dataset("regression/f5")
    with pytest.raises(UnknownNameError, match="digits/32"):
        load_dataset("digits/")


def test_a_variant_of_a_dataset_without_variants_is_refused(monkeypatch):
    monkeypatch.setattr(catalog.load_module("datasets", "digits"), "VARIANTS", ())
    with pytest.raises(InputError, match="has no variants"):
        load_dataset("digits/32")


# --- What is known without reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
def test_facts_of_bundled_datasets_are_what_is_loaded(text):
    known, dataset = facts(text), load_dataset(text)
    assert known.input_shape == dataset.input_shape and known.outputs == dataset.outputs
    sizes = known.train, known.validation, known.test
    assert sizes == tuple(map(len, splits(dataset).values()))
    assert not known.natural and known.download_bytes == 0 and not dataset.is_images and dataset.mean is None


def test_facts_of_published_datasets():
    found = {name: facts(name) for name in ("cifar10", "cifar100", "tiny-imagenet-200")}
    assert {name: (f.input_shape, f.outputs, f.train, f.test) for name, f in found.items()} == {
        "cifar10": ((3, 32, 32), 10, 50_000, 10_000),
        "cifar100": ((3, 32, 32), 100, 50_000, 10_000),
        "tiny-imagenet-200": ((3, 64, 64), 200, 100_000, 10_000),
    }
    assert all(f.natural and 1.6e8 < f.download_bytes < 2.5e8 and f.validation == 0 for f in found.values())
    assert facts("image_folder/128") is None and facts("my_data:build") is None
    with pytest.raises(UnknownNameError):
        facts("regression/f9")


def test_recipes_and_kinds_by_name():
    assert default_recipe("digits/32") == "digits" and default_recipe("my_data:build") == "own-data"
    assert default_recipe("CIFAR-100") == "paper-b" and default_recipe("regression/f2") == "dying-relu"
    assert is_natural("image_folder/128") and not is_natural("digits") and not is_natural("my_data:build")


# --- Splits ----------------------------------------------------------------------------------------------------------


def test_a_split_with_rows_is_those_rows():
    inputs = torch.arange(20.0).view(10, 2)
    split = Split(inputs, torch.arange(10), torch.tensor([7, 2, 9]))
    x, y = split.take(torch.tensor([2, 0, 0]))
    assert len(split) == 3 and y.tolist() == [9, 7, 7] and torch.equal(x, inputs[[9, 7, 7]])
    whole = Split(inputs, torch.arange(10))
    assert len(whole) == 10 and whole.take(torch.tensor([4]))[1].tolist() == [4]


def test_moving_to_where_it_is_copies_nothing():
    dataset = images(8).with_validation(0.25, 0)
    moved = dataset.to("cpu")
    assert moved.train is dataset.train and moved.validation is dataset.validation and moved.test is dataset.test


def test_what_splits_share_is_moved_and_counted_once():
    dataset = images(100).with_validation(0.25, 0)
    assert dataset.nbytes == 104 * (3 * 2 * 2 + 8) + 100 * 8  # images and labels once, and the rows
    there = dataset.to("meta")
    assert there.train.inputs is there.validation.inputs and there.train.targets is there.validation.targets
    assert there.train.rows.device.type == "meta" and there.train.take(torch.zeros(2, dtype=torch.int64, device="meta"))


@given(train=st.integers(2, 300), share=st.floats(0.001, 0.999), seed=st.integers(0, 2**63 - 1))
def test_a_validation_split_is_a_seeded_share_of_the_training_rows(train, share, seed):
    dataset = images(train)
    cut = dataset.with_validation(share, seed)
    size = min(max(round(share * train), 1), train - 1)
    assert len(cut.validation) == size and len(cut.train) == train - size and cut.test is dataset.test
    assert sorted([*cut.train.rows.tolist(), *cut.validation.rows.tolist()]) == list(range(train))
    assert cut.train.rows.tolist() == sorted(cut.train.rows.tolist())
    assert torch.equal(dataset.with_validation(share, seed).validation.rows, cut.validation.rows)
    assert cut.validation.inputs is dataset.train.inputs and cut.train.targets is dataset.train.targets
    again = cut.with_validation(share, seed) if len(cut.train) > 1 else cut
    assert not set(again.validation.rows.tolist()) - set(range(train))
    if again is not cut:  # a second cut comes out of what is left
        assert not set(again.validation.rows.tolist()) & set(cut.validation.rows.tolist())


def test_validation_splits_differ_between_seeds_and_are_spread_over_the_data():
    dataset = images(100_000)
    drawn = [dataset.with_validation(0.05, seed).validation.rows for seed in (1, 2)]
    assert [len(rows) for rows in drawn] == [5000, 5000]
    assert 100 < len(set(drawn[0].tolist()) & set(drawn[1].tolist())) < 400  # 250 by chance
    assert all(abs(rows.double().mean() - 50_000) < 2000 for rows in drawn)


def test_a_bundled_validation_split_gives_way_to_one_that_is_cut():
    digits = load_dataset("digits")
    cut = digits.with_validation(0.1, 3)
    assert len(cut.validation) == 60 and len(cut.train) == 540 and len(digits.validation) == 400
    assert torch.equal(cut.validation.take(torch.tensor([5]))[0][0], digits.train.inputs[cut.validation.rows[5]])


@pytest.mark.parametrize(("share", "seed", "rule"), [(0.0, 0, "share"), (1.0, 0, "share"), (0.1, -1, "seed")])
def test_a_validation_split_that_cannot_be_cut_is_refused(share, seed, rule):
    with pytest.raises(InputError, match=rule):
        images(10).with_validation(share, seed)
    with pytest.raises(InputError, match="two training samples"):
        images(1).with_validation(0.5, 0)
