"""Decoded images: mapped and shared, decoded once, never half there, decoded again when something changed."""

import json
import logging
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import makers
import numpy as np
import pytest
import torch

from sugar_search.data import _decoded, _fetch
from sugar_search.data._decoded import Source, open_decoded
from sugar_search.data._pixels import mean_and_std, pixel_sums
from sugar_search.errors import FileError


def source(folder, samples=6, side=4, chunk=4, before=lambda: None):
    """A source of one file; the images are counted from the file's content."""
    file = folder / "source"
    images, labels = makers.make_images(samples, 2, side)

    def chunks():
        for split in ("train", "test"):
            for start in range(0, samples, chunk):
                before()
                yield split, images[start : start + chunk], labels[start : start + chunk]

    return Source((file,), ("a", "b"), images.nbytes * 2, chunks)


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "source").write_text("1")
    return tmp_path / "data"


def never():
    raise AssertionError("decoded again")


def contents(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_images_are_decoded_once_and_kept_beside_their_source(data_dir):
    first = open_decoded("made/4", data_dir, lambda: source(data_dir))
    second = open_decoded("made/4", data_dir, never)
    images, labels = makers.make_images(6, 2, 4)
    for dataset in (first, second):
        assert dataset.name == "made/4" and dataset.outputs == 2
        assert np.array_equal(dataset.train.inputs, images) and np.array_equal(dataset.test.targets, labels)
        assert dataset.mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)))
    assert contents(data_dir / "decoded") == ["made-4"]
    kinds = [f"{split}.{part}.npy" for split in ("test", "train") for part in ("images", "labels")]
    assert contents(data_dir / "decoded" / "made-4") == ["manifest.json", *kinds]
    assert np.load(data_dir / "decoded" / "made-4" / "train.images.npy").shape == (6, 3, 4, 4)


def smaps(file):
    """Kibibytes of each kind of page that this process has of `file`."""
    found, inside = {}, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            inside = line.endswith(str(file))
        elif inside and words[0] in ("Rss:", "Private_Dirty:", "Size:"):
            found[words[0][:-1]] = found.get(words[0][:-1], 0) + int(words[1])
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads the maps of Linux")
@pytest.mark.filterwarnings("error")
def test_images_are_pages_of_the_file_and_nothing_else(data_dir):
    dataset = open_decoded("big", data_dir, lambda: source(data_dir, samples=600, side=64, chunk=100))
    file = data_dir / "decoded" / "big" / "train.images.npy"
    assert smaps(file)["Size"] >= 7200
    for split in (dataset.train, dataset.with_validation(0.5, 0).validation):  # both read every page
        assert split.take(torch.arange(len(split)))[0].sum() > 0
    assert int(dataset.train.inputs.sum()) > 0
    pages = smaps(file)
    assert pages["Rss"] >= 7200 and pages["Private_Dirty"] == 0
    before = file.read_bytes()
    dataset.train.inputs[0] = 0  # copy on write: what a program does to its tensor stays its own
    assert file.read_bytes() == before and smaps(file)["Private_Dirty"] > 0


@pytest.mark.parametrize("change", ["touched", "longer", "gone and back"])
def test_another_source_is_decoded_again(data_dir, change, caplog):
    open_decoded("made", data_dir, lambda: source(data_dir))
    old = open_decoded("made", data_dir, never)
    if change == "touched":
        os.utime(data_dir / "source", (1, 1))
    if change == "longer":
        (data_dir / "source").write_text("22")
    if change == "gone and back":
        (data_dir / "source").unlink()
        with pytest.raises(FileError, match="needs"):
            open_decoded("made", data_dir, lambda: raise_(FileError("made needs its files", "none", "x")))
        (data_dir / "source").write_text("1")
        os.utime(data_dir / "source", (1, 1))
    with caplog.at_level(logging.INFO, "sugar_search"):
        again = open_decoded("made", data_dir, lambda: source(data_dir, samples=8))
    assert len(again.train) == 8 and len(open_decoded("made", data_dir, never).train) == 8
    assert len(old.train) == 6 and old.train.inputs.sum() > 0  # a process that still holds it reads on
    assert "decoded again" in caplog.text and contents(data_dir / "decoded") == ["made"]


def raise_(error):
    raise error


@pytest.mark.parametrize(
    "damage", ["cut", "longer", "gone", "no manifest", "torn manifest", "empty manifest", "format", "header"]
)
def test_damaged_decoded_images_are_decoded_again(data_dir, damage):
    open_decoded("made", data_dir, lambda: source(data_dir))
    folder = data_dir / "decoded" / "made"
    file, manifest = folder / "train.images.npy", folder / "manifest.json"
    raw = file.read_bytes()
    if damage == "cut":
        file.write_bytes(raw[:-1])
    if damage == "longer":
        file.write_bytes(raw + b"x")
    if damage == "gone":
        file.unlink()
    if damage == "no manifest":
        manifest.unlink()
    if damage == "torn manifest":
        manifest.write_text(manifest.read_text()[:50])
    if damage == "empty manifest":
        manifest.write_text("[]")
    if damage == "format":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    if damage == "header":
        file.write_bytes(raw.replace(b"(6, 3, 4, 4)", b"(6, 3, 8, 2)").replace(b"|u1", b"|O1"))
    count = []
    found = open_decoded("made", data_dir, lambda: count.append(1) or source(data_dir))
    assert count and np.array_equal(found.train.inputs, makers.make_images(6, 2, 4)[0])
    open_decoded("made", data_dir, never)


def test_the_name_is_part_of_what_is_decoded(data_dir):
    open_decoded("a/1", data_dir, lambda: source(data_dir))
    assert len(open_decoded("a-1", data_dir, lambda: source(data_dir, samples=8)).train) == 8


def test_too_little_disk_is_said_before_anything_is_written(data_dir, monkeypatch):
    usage = shutil.disk_usage(data_dir)._replace(free=100 * 2**20)
    monkeypatch.setattr(_fetch.shutil, "disk_usage", lambda _: usage)
    want = Source((data_dir / "source",), ("a", "b"), 300 * 2**20 + 1, never)
    with pytest.raises(FileError, match=r"needs 301 MiB of free disk space in .*decoded, got '100 MiB'; make room"):
        open_decoded("made", data_dir, lambda: want)
    assert contents(data_dir / "decoded") == []


def test_a_disk_that_fills_up_meanwhile_is_one_line_and_leaves_nothing(data_dir, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_decoded._Growing, "append", full)
    with pytest.raises(FileError, match=r"must be writable, got 'No space left on device'; make room"):
        open_decoded("made", data_dir, lambda: source(data_dir))
    assert contents(data_dir / "decoded") == []


def test_images_go_to_the_users_cache_where_the_data_cannot_be_written(data_dir, tmp_path):
    (data_dir / "decoded").write_text("in the way")
    first = open_decoded("made", data_dir, lambda: source(data_dir))
    assert len(open_decoded("made", data_dir, never).train) == len(first.train) == 6
    other = tmp_path / "other"
    shutil.copytree(data_dir, other)
    assert len(open_decoded("made", other, lambda: source(other, samples=8)).train) == 8  # each folder has its own
    folders = contents(tmp_path / "cache" / "sugar-search")
    assert len(folders) == 2 and all(name.startswith("made-") for name in folders)


def test_no_place_to_write_at_all(data_dir, tmp_path):
    (data_dir / "decoded").write_text("in the way")
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(FileError, match=r"decoded images need a folder, .*XDG_CACHE_HOME"):
        open_decoded("made", data_dir, lambda: source(data_dir))


def test_no_images_of_a_split_is_one_line(data_dir):
    images, labels = makers.make_images(2, 2, 4)
    for split, missing in (("train", "test"), ("test", "train")):
        only = Source((data_dir / "source",), ("a", "b"), 10, lambda split=split: iter([(split, images, labels)]))
        with pytest.raises(FileError, match=f"must have {missing} images"):
            open_decoded("made", data_dir, lambda only=only: only)
    assert contents(data_dir / "decoded") == []


def decode_slowly(data_dir, pause):
    """What a process of its own does: notes each chunk, and writes down what it has got."""
    torch.set_num_threads(1)  # torch's pool of threads does not survive a fork

    def slow():
        with (data_dir / "log").open("a") as file:
            file.write("x")
        time.sleep(pause)

    dataset = open_decoded("made", data_dir, lambda: source(data_dir, before=slow))
    (data_dir / f"said {os.getpid()}").write_text(f"{len(dataset.train)} {int(dataset.train.inputs.sum())}")


def start(data_dir, pause):
    process = multiprocessing.get_context("fork").Process(target=decode_slowly, args=(data_dir, pause))
    process.start()
    return process


def wait_for(path):
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert path.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_two_processes_decode_once_and_a_killed_one_leaves_a_draft_that_goes(data_dir):
    killed = start(data_dir, pause=30)
    wait_for(data_dir / "log")
    killed.kill()
    killed.join()
    assert contents(data_dir / "decoded") == [".made.draft"]
    (data_dir / "log").unlink()
    both = [start(data_dir, pause=0.3) for _ in range(2)]
    for process in both:
        process.join(60)
    said = {(data_dir / f"said {process.pid}").read_text() for process in both}
    total = int(makers.make_images(6, 2, 4)[0].sum(dtype=np.int64))
    assert said == {f"6 {total}"} and (data_dir / "log").read_text() == "xxxx"  # two chunks of two splits
    assert contents(data_dir / "decoded") == ["made"]


def test_mean_and_deviation_are_exact_and_add_up():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (37, 3, 5, 7), dtype=np.uint8)
    images[:, 2] = 9
    whole = mean_and_std(pixel_sums(images))
    assert whole == mean_and_std(pixel_sums(images[:10]) + pixel_sums(images[10:]))
    assert whole[0] == pytest.approx((images / 255).mean(axis=(0, 2, 3)), rel=1e-14)
    assert whole[1][:2] == pytest.approx((images / 255).std(axis=(0, 2, 3))[:2], rel=1e-13) and whole[1][2] == 1.0
    flat = np.full((4, 1, 64, 64), 255, np.uint8)
    flat[0, 0, 0, 0] = 254
    assert mean_and_std(pixel_sums(flat))[1][0] == pytest.approx(np.sqrt(1 / 16384 - 1 / 16384**2) / 255, rel=1e-12)
