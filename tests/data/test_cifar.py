"""CIFAR: both layouts give the published images, and every kind of damage is one clear line."""

import io
import logging
import os
import pickle
import tarfile
from dataclasses import replace

import makers
import numpy as np
import pytest
import torch

from sugar_search.data import _cifar, cifar10, cifar100
from sugar_search.data._about import facts, is_present
from sugar_search.data._load import load_dataset
from sugar_search.data._pickles import read_batch
from sugar_search.errors import FileError
from sugar_search.vision import load as load_vision

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


# --- The archive -----------------------------------------------------------------------------------------------------


def damaged_archive(path, how):
    raw = path.read_bytes()
    middle = len(raw) // 2
    path.write_bytes(
        {
            "empty": b"",
            "truncated": raw[:middle],
            "one byte short": raw[:-1],
            "flipped": raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :],
            "a web page": b"<html>404</html>",
            "zeros inside": raw[:middle] + bytes(1000) + raw[middle + 1000 :],
        }[how]
    )


@pytest.mark.parametrize("how", ["empty", "truncated", "one byte short", "flipped", "a web page", "zeros inside"])
def test_a_damaged_archive_is_refused(tmp_path, how):
    makers.make_cifar10(tmp_path, archive=True)
    damaged_archive(tmp_path / "cifar-10-python.tar.gz", how)
    with pytest.raises(FileError, match=r"whole .tar.gz archive, got .*; download it again") as error:
        load_dataset("cifar10", data_dir=tmp_path)
    assert "\n" not in str(error.value) and not list((tmp_path / "decoded").glob("cifar10"))


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_of_the_published_size_must_have_the_published_content(tmp_path, monkeypatch, caplog, archive):
    makers.make_cifar10(tmp_path, archive=archive)
    file = "cifar-10-python.tar.gz" if archive else "cifar-10-batches-py/test_batch"
    size = (tmp_path / file).stat().st_size
    batches = {**cifar10.CIFAR.batch_bytes, "test_batch": size}
    monkeypatch.setattr(cifar10, "CIFAR", replace(cifar10.CIFAR, archive_bytes=size, batch_bytes=batches))
    with pytest.raises(FileError, match=f"{file} is damaged: its md5 must be .*; download it again"):
        load_dataset("cifar10", data_dir=tmp_path)


def test_the_published_archive_is_used_without_a_word_and_another_with_one(tmp_path, monkeypatch, caplog):
    import hashlib

    makers.make_cifar10(tmp_path / "a", archive=True)
    makers.make_cifar10(tmp_path / "b", archive=True)
    makers.make_cifar10(tmp_path / "c")
    raw = (tmp_path / "a" / "cifar-10-python.tar.gz").read_bytes()
    published = load_vision("torchvision.datasets").CIFAR10
    with caplog.at_level(logging.INFO, "sugar_search"):
        load_dataset("cifar10", data_dir=tmp_path / "b")
        load_dataset("cifar10", data_dir=tmp_path / "c")
        assert [r.message for r in caplog.records if "the published" in r.message] == [
            f"{tmp_path / 'b' / 'cifar-10-python.tar.gz'} is not the published file: used as it is",
            f"{tmp_path / 'c' / 'cifar-10-batches-py'} does not hold the published files: used as they are",
        ]
        caplog.clear()
        monkeypatch.setattr(published, "tgz_md5", hashlib.md5(raw).hexdigest())
        monkeypatch.setattr(cifar10, "CIFAR", replace(cifar10.CIFAR, archive_bytes=len(raw)))
        load_dataset("cifar10", data_dir=tmp_path / "a")
        assert not [r for r in caplog.records if "the published" in r.message]


@pytest.mark.parametrize("kind", ["outside", "absolute", "link", "device", "missing"])
def test_hostile_members_of_an_archive_are_never_followed(tmp_path, kind):
    files = makers.cifar10_files()
    path = tmp_path / "cifar-10-python.tar.gz"
    secret = tmp_path / "secret"
    secret.write_bytes(files["test_batch"])
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            if name == "test_batch":
                if kind == "missing":
                    continue
                places = {"outside": f"../cifar-10-batches-py/{name}", "absolute": f"/cifar-10-batches-py/{name}"}
                member.name = places.get(kind, member.name)
                kinds = {"link": tarfile.SYMTYPE, "device": tarfile.CHRTYPE}
                member.type, member.linkname = kinds.get(kind, tarfile.REGTYPE), str(secret)
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(FileError, match=r"must hold .*test_batch|test_batch must be an ordinary file"):
        load_dataset("cifar10", data_dir=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"secret", path.name, "decoded"}
    assert not (tmp_path.parent / "cifar-10-batches-py").exists()


# --- What is missing -------------------------------------------------------------------------------------------------


def test_nothing_there_and_offline_is_one_line_and_writes_nothing(tmp_path):
    for folder in (tmp_path, tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(FileError, match=r"no cifar-100-python.tar.gz or cifar-100-python in .*--data-dir"):
            load_dataset("cifar100", data_dir=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_incomplete_folder_names_what_is_missing_and_a_whole_archive_beside_it_wins(tmp_path):
    makers.make_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    for folder in (tmp_path, tmp_path / "cifar-10-batches-py"):
        with pytest.raises(FileError, match=r"cifar-10-batches-py must be complete, got 'no data_batch_4'; extract"):
            load_dataset("cifar10", data_dir=folder)
    makers.write_files(makers.cifar10_files(), tmp_path / "other", "cifar-10-batches-py", "cifar-10-python.tar.gz")
    (tmp_path / "other" / "cifar-10-python.tar.gz").rename(tmp_path / "cifar-10-python.tar.gz")
    check(load_dataset("cifar10", data_dir=tmp_path), "cifar10", 50, 20)


def test_files_of_somebody_else_in_the_data_folder_are_no_cifar(tmp_path):
    (tmp_path / "meta").write_text("notes")
    with pytest.raises(FileError, match="cifar100 needs its files"):
        load_dataset("cifar100", data_dir=tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_files_are_seen_in_every_layout_without_being_opened(tmp_path, name):
    make, _, base, archive = KINDS[name]
    assert not is_present(name, tmp_path) and is_present("digits", tmp_path)
    (tmp_path / archive).write_bytes(b"")
    assert is_present(name, tmp_path)
    make(tmp_path / "x")
    assert is_present(name, tmp_path / "x") and is_present(name, tmp_path / "x" / base)
    published = getattr(load_vision("torchvision.datasets"), name.upper())
    assert (published.filename, published.base_folder) == (archive, base)


def test_sizes_are_given_for_published_files_only():
    for module in (cifar10, cifar100):
        published = getattr(load_vision("torchvision.datasets"), module.CIFAR.torchvision)
        assert set(module.CIFAR.batch_bytes) <= {name for name, _ in published.train_list + published.test_list}
