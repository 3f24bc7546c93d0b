"""The two sets of CIFAR in small, and what they must be read as."""

import makers
import pytest
import torch

from sugar_search.data._about import facts

KINDS = {
    "cifar10": (makers.make_cifar10, makers.cifar10_files, "cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": (makers.make_cifar100, makers.cifar100_files, "cifar-100-python", "cifar-100-python.tar.gz"),
}


def check(dataset, name, train, test):
    classes = facts(name).outputs
    images, labels = makers.make_images(train + test, classes)
    assert dataset.name == name and dataset.outputs == classes and dataset.validation is None and dataset.is_images
    for split, rows in ((dataset.train, slice(0, train)), (dataset.test, slice(train, None))):
        assert torch.equal(split.inputs, torch.from_numpy(images[rows]))
        assert torch.equal(split.targets, torch.from_numpy(labels[rows])) and split.targets.dtype == torch.int64
    scaled = images[:train] / 255
    assert dataset.mean == pytest.approx(scaled.mean(axis=(0, 2, 3)), abs=1e-12)
    assert dataset.std == pytest.approx(scaled.std(axis=(0, 2, 3)), abs=1e-12)
