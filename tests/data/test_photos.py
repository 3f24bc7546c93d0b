"""Tiny-ImageNet-200: layouts, what is decoded, and damage as one clear line."""

import os
import zipfile
from dataclasses import replace

import makers
import numpy as np
import pytest
import torch
from PIL import Image

from sugar_search.data import tiny_imagenet_200
from sugar_search.data._load import load_dataset
from sugar_search.errors import FileError

ZIP = "tiny-imagenet-200.zip"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A whole Tiny-ImageNet-200 folder; copied by hard links, so that a test may change its own."""
    return makers.make_tiny_imagenet(tmp_path_factory.mktemp("tiny"), per_class=1, val=210)


@pytest.fixture
def own(tiny, tmp_path):
    base = tmp_path / "tiny-imagenet-200"
    for path in tiny.rglob("tiny-imagenet-200/**/*"):
        target = tmp_path / path.relative_to(tiny)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return base


def rewrite(path, content):
    path.unlink()  # the link, not the shared content
    path.write_bytes(content)


def zipped(base):
    """The folder as the archive, which takes its place."""
    path = base.parent / ZIP
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for each in sorted(base.rglob("*")):
            file.write(each, each.relative_to(base.parent))
    makers.remove(base)
    return path


def test_every_layout_of_tiny_imagenet_gives_the_same_images_in_the_same_order(own):
    inside = load_dataset("tiny-imagenet-200", data_dir=own)
    folder = load_dataset("tiny_imagenet_200", data_dir=own.parent)
    pixels = [folder.train.inputs.clone(), folder.test.inputs.clone()]
    other = own.parent / "other"
    other.mkdir()
    zipped(own).rename(other / ZIP)
    archive = load_dataset("TinyImageNet200", data_dir=other)
    for dataset in (inside, folder, archive):
        assert dataset.name == "tiny_imagenet_200" and dataset.outputs == 200 and dataset.validation is None
        assert dataset.input_shape == (3, 64, 64) and (len(dataset.train), len(dataset.test)) == (200, 210)
        assert torch.equal(dataset.train.inputs, pixels[0]) and torch.equal(dataset.test.inputs, pixels[1])
        assert dataset.train.targets.tolist() == list(range(200))
        assert torch.equal(dataset.test.targets, folder.test.targets)
    assert {path.name for path in other.iterdir()} == {ZIP, "decoded"}


def test_tiny_imagenet_is_what_pil_decodes_and_the_annotations_say(own):
    dataset = load_dataset("tiny-imagenet-200", data_dir=own.parent)
    wnids = sorted((own / "wnids.txt").read_text().split())
    lines = [line.split("\t") for line in (own / "val" / "val_annotations.txt").read_text().splitlines()]
    for i, (file, wnid, *_) in enumerate(sorted(lines)):
        image = Image.open(own / "val" / "images" / file)
        assert dataset.test.targets[i] == wnids.index(wnid)
        if i % 10 == 0 or image.mode == "L":
            theirs = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            assert np.array_equal(dataset.test.inputs[i].numpy(), theirs)
    grey = dataset.train.inputs[6]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])
    assert not torch.equal(dataset.train.inputs[5][0], dataset.train.inputs[5][1])
    assert dataset.mean == pytest.approx((dataset.train.inputs.double() / 255).mean(dim=(0, 2, 3)).tolist(), abs=1e-12)


def first_image(base):
    return next(iter(sorted(base.glob("train/*/images/*.JPEG"))))


def truncate(path):
    rewrite(path, path.read_bytes()[:-200])


def resize(path):
    image = Image.open(path).resize((64, 63))
    path.unlink()
    image.save(path)


TINY_DAMAGE = {
    "a truncated image": (lambda b: truncate(first_image(b)), r"n01443537_0.JPEG must be a whole image.*truncated"),
    "text for an image": (lambda b: rewrite(first_image(b), b"hello"), "n01443537_0.JPEG must be a whole image"),
    "an empty image": (lambda b: rewrite(first_image(b), b""), "n01443537_0.JPEG must be a whole image"),
    "another size": (lambda b: resize(first_image(b)), "n01443537_0.JPEG must have 64x64 pixels, got '64x63'"),
    "199 classes": (
        lambda b: rewrite(b / "wnids.txt", b"".join((b / "wnids.txt").read_bytes().splitlines(True)[1:])),
        "wnids.txt must name 200 different classes, got '199 names'",
    ),
    "a class without images": (lambda b: first_image(b).unlink(), "training images of the 200 classes.*n01443537"),
    "an unknown class": (
        lambda b: (b / "train" / "n01443537").rename(b / "train" / "x"),
        "training images of the 200 classes of wnids.txt and no others, got '2 differ, such as n01443537'",
    ),
    "an image that is not listed": (
        lambda b: (b / "val" / "images" / "val_3.JPEG").rename(b / "val" / "images" / "x.JPEG"),
        "must list every image of val/images and no others, got '2 differ",
    ),
    "a listed class that is none": (
        lambda b: rewrite(
            b / "val" / "val_annotations.txt",
            (b / "val" / "val_annotations.txt").read_bytes().replace(b"n01443537", b"cat"),
        ),
        "must name classes of wnids.txt, got 'cat'",
    ),
    "annotations that are no text": (
        lambda b: rewrite(b / "val" / "val_annotations.txt", b"\xff\xfe\x00"),
        "val_annotations.txt must be text",
    ),
}


@pytest.mark.parametrize(
    ("kind", "archive"), [*((kind, False) for kind in TINY_DAMAGE), ("a truncated image", True), ("199 classes", True)]
)
def test_damage_to_tiny_imagenet_is_one_line(own, kind, archive):
    change, message = TINY_DAMAGE[kind]
    change(own)
    data_dir = own.parent
    if archive:
        zipped(own)
    with pytest.raises(FileError, match=message) as error:
        load_dataset("tiny-imagenet-200", data_dir=data_dir)
    assert "\n" not in str(error.value)
    left = sorted(path.name for path in (data_dir / "decoded").glob("*") if not path.name.endswith(".lock"))
    assert left == []


def test_missing_annotations_or_class_list_are_named(own):
    (own / "val" / "val_annotations.txt").unlink()
    with pytest.raises(FileError, match=r"val_annotations.txt must be readable"):
        load_dataset("tiny-imagenet-200", data_dir=own.parent)
    (own / "wnids.txt").unlink()
    with pytest.raises(FileError, match=r"tiny-imagenet-200 must be complete, got 'no wnids.txt'; extract"):
        load_dataset("tiny-imagenet-200", data_dir=own.parent)


@pytest.mark.parametrize("how", ["truncated", "a web page", "flipped", "empty"])
def test_a_damaged_zip_is_refused(own, how):
    path = zipped(own)
    raw = path.read_bytes()
    # Within the data of the first training image: only its checksum can tell.
    place = raw.index(b"n01443537_0.JPEG") + 300
    flipped = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
    damaged = {"truncated": raw[: len(raw) // 2], "a web page": b"<html>", "flipped": flipped, "empty": b""}[how]
    path.write_bytes(damaged)
    with pytest.raises(FileError, match=rf"{ZIP}.* must be .*; download it again") as error:
        load_dataset("tiny-imagenet-200", data_dir=path.parent)
    assert "\n" not in str(error.value)


def test_a_zip_of_the_published_size_must_have_the_published_content(own, monkeypatch):
    path = zipped(own)
    remote = replace(tiny_imagenet_200.REMOTE, size=path.stat().st_size)
    monkeypatch.setattr(tiny_imagenet_200, "REMOTE", remote)
    with pytest.raises(FileError, match=f"{ZIP} is damaged: its md5 must be 90528d7c.*; download it again"):
        load_dataset("tiny-imagenet-200", data_dir=path.parent)


def test_names_that_leave_the_zip_are_never_written_or_read(own):
    path = zipped(own)
    with zipfile.ZipFile(path, "a") as file:
        for name in ("../evil.JPEG", "/tmp/evil.JPEG", "tiny-imagenet-200/train/../../evil.JPEG"):
            file.writestr(name, b"x")
    assert len(load_dataset("tiny-imagenet-200", data_dir=path.parent).train) == 200
    assert {each.name for each in path.parent.iterdir()} == {ZIP, "decoded"}


def test_tiny_imagenet_missing_and_offline(tmp_path):
    with pytest.raises(FileError, match=r"no tiny-imagenet-200.zip or tiny-imagenet-200 in .*--data-dir"):
        load_dataset("tiny-imagenet-200", data_dir=tmp_path)
