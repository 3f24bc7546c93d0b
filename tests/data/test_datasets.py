"""Datasets: fixed disjoint splits, normalisation, target functions, and what is refused."""

import math

import pytest
import torch
from sklearn.datasets import load_digits

from sugar_search import catalog
from sugar_search.data._dataset import load_dataset
from sugar_search.errors import InputError, UnknownNameError

TEXTS = [
    "/".join((name, *variant))
    for name in catalog.names("datasets")
    for variant in [(), *((variant,) for variant in catalog.load_module("datasets", name).VARIANTS)]
]


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
