"""CIFAR: both layouts give the published images, and every kind of damage is one clear line."""

import io
import os
import pickle

import makers
import numpy as np
import pytest
import torch
from cifar_kinds import KINDS, check

from sugar_search.data import _cifar, cifar10
from sugar_search.data._load import load_dataset
from sugar_search.data._pickles import read_batch
from sugar_search.errors import FileError
from sugar_search.vision import load as load_vision


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layout", ["archive", "folder", "the folder itself"])
def test_every_layout_gives_the_images_in_order(tmp_path, name, layout):
    make, _, base, _ = KINDS[name]
    make(tmp_path, archive=layout == "archive")
    dataset = load_dataset(name, data_dir=tmp_path / base if layout == "the folder itself" else tmp_path)
    check(dataset, name, *((50, 20) if name == "cifar10" else (200, 100)))
    assert load_dataset(name, data_dir=tmp_path) is load_dataset(name, data_dir=str(tmp_path), offline=False)


@pytest.mark.parametrize("name", KINDS)
def test_the_images_are_those_that_torchvision_reads(tmp_path, monkeypatch, name):
    make = KINDS[name][0]
    make(tmp_path)
    dataset = load_dataset(name, data_dir=tmp_path)
    published = getattr(load_vision("torchvision.datasets"), name.upper())
    monkeypatch.setattr(load_vision("torchvision.datasets.cifar"), "check_integrity", lambda *_: True)
    for split, train in ((dataset.train, True), (dataset.test, False)):
        theirs = published(tmp_path, train=train)
        assert torch.equal(split.inputs, torch.from_numpy(theirs.data.transpose(0, 3, 1, 2)))
        assert split.targets.tolist() == theirs.targets


def test_files_of_python_3_and_any_protocol_are_read():
    data = np.arange(2 * 3072, dtype=np.int64).astype(np.uint8).reshape(2, 3072)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        for array in (data, np.asfortranarray(data)):
            raw = pickle.dumps({b"data": array, "labels": [np.int64(3), 4]}, protocol)
            found = read_batch(io.BytesIO(raw), "file")
            assert np.array_equal(found["data"], data) and found["labels"] == [3, 4]


def edit(name, folder, file, change):
    """Writes the files with one batch changed."""
    _, files, base, _ = KINDS[name]
    made = files()
    content = pickle.loads(made[file], encoding="bytes")
    change(content)
    made[file] = makers.python2_pickle(content)
    return makers.write_files(made, folder, base)


def set_to(key, value):
    return lambda content: content.__setitem__(key, value)


DAMAGE = {
    "labels too large": (
        "test_batch",
        lambda c: c[b"labels"].__setitem__(3, 10),
        "labels .* must be 0 to 9, got '0 to 10",
    ),
    "negative labels": ("data_batch_2", lambda c: c[b"labels"].__setitem__(3, -1), "labels .* must be 0 to 9"),
    "a label missing": ("data_batch_2", lambda c: c[b"labels"].pop(), "one whole number per image under 'labels'"),
    "no labels": ("data_batch_2", lambda c: c.pop(b"labels"), "one whole number per image"),
    "labels of text": ("data_batch_2", set_to(b"labels", [b"x"] * 10), "one whole number per image"),
    "ragged labels": ("data_batch_2", set_to(b"labels", [[1], [1, 2]] * 5), "one whole number per image"),
    "no data": ("data_batch_4", lambda c: c.pop(b"data"), "must hold images as bytes under 'data'"),
    "data of another kind": ("data_batch_4", set_to(b"data", [1, 2]), "must hold images as bytes"),
    "short images": ("data_batch_1", set_to(b"data", np.zeros((10, 3071), np.uint8)), "must have 3072 bytes each"),
    "no images": ("data_batch_5", lambda c: c.update({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}), "none"),
    "nine names": ("batches.meta", lambda c: c[b"label_names"].pop(), "must be 10 different class names, got '9 names"),
    "the same name twice": ("batches.meta", lambda c: c[b"label_names"].__setitem__(0, b"cat"), "10 different class"),
    "no names": ("batches.meta", lambda c: c.pop(b"label_names"), "must be 10 different class names"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_batch_that_is_not_what_it_should_be_is_refused(tmp_path, kind):
    file, change, message = DAMAGE[kind]
    edit("cifar10", tmp_path, file, change)
    with pytest.raises(FileError, match=message) as error:
        load_dataset("cifar10", data_dir=tmp_path)
    assert file in str(error.value) and "\n" not in str(error.value) and "download it again" in str(error.value)
    assert not list((tmp_path / "decoded").glob("cifar10")) and not list((tmp_path / "decoded").glob(".*draft"))


def test_class_numbers_of_cifar100_reach_99(tmp_path):
    edit("cifar100", tmp_path / "good", "train", lambda c: c[b"fine_labels"].__setitem__(0, 99))
    assert load_dataset("cifar100", data_dir=tmp_path / "good").train.targets[0] == 99
    edit("cifar100", tmp_path / "bad", "train", lambda c: c[b"fine_labels"].__setitem__(0, 100))
    with pytest.raises(FileError, match="must be 0 to 99"):
        load_dataset("cifar100", data_dir=tmp_path / "bad")


@pytest.mark.parametrize("cut", [0, 1, 100, 0.5, -1])
def test_a_truncated_batch_is_refused(tmp_path, cut):
    makers.make_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(cut * len(raw)) if isinstance(cut, float) else cut])
    with pytest.raises(FileError, match="data_batch_3 must be a whole pickled batch"):
        load_dataset("cifar10", data_dir=tmp_path)


def test_any_flipped_byte_gives_images_or_one_line(tmp_path):
    raw = makers.cifar10_files(train=5, test=5)["data_batch_1"]
    rng = np.random.default_rng(0)
    structure = [*range(160), *range(len(raw) - 60, len(raw)), *rng.integers(0, len(raw), 30).tolist()]
    for place in structure:
        for value in (0, 46, raw[place] ^ 0x10, 255):
            damaged = bytearray(raw)
            damaged[place] = value
            try:
                batch = read_batch(io.BytesIO(bytes(damaged)), "batch")
                _cifar._images(batch, cifar10.CIFAR, "batch")
            except FileError as error:
                assert "\n" not in str(error) and len(str(error)) < 400


class Hostile:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


HOSTILE = {
    "posix.system": Hostile(os.system, "touch {mark}"),
    "builtins.eval": Hostile(eval, "open('{mark}', 'w')"),
    "builtins.getattr": Hostile(getattr, os, "system"),
    "numpy.load": Hostile(np.load, "{mark}"),
    "an array of 'O8'": np.array([None]),
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("named", HOSTILE)
@pytest.mark.parametrize("archive", [False, True])
def test_a_hostile_pickle_runs_nothing(tmp_path, named, protocol, archive):
    if named == "builtins.getattr":
        raw = b"cbuiltins\ngetattr\n(cposix\nsystem\nVx\ntR."  # modules themselves cannot be pickled
    else:
        value = HOSTILE[named]
        if isinstance(value, Hostile):
            function, (argument,) = value.made
            value = Hostile(function, argument.format(mark=tmp_path / "mark"))
        raw = pickle.dumps({b"data": value, b"labels": [1]}, protocol).replace(b"__builtin__", b"builtins")
    files = {**makers.cifar10_files(), "data_batch_1": raw}
    makers.write_files(files, tmp_path, "cifar-10-batches-py", "cifar-10-python.tar.gz" if archive else None)
    with pytest.raises(FileError, match=r"data_batch_1 must hold nothing but arrays and lists") as error:
        load_dataset("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "mark").exists() and named in str(error.value) and "do not use" in str(error.value)
