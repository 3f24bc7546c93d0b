"""Tiny-ImageNet-200 and image folders: layouts, what is decoded, and damage as one clear line."""

import io
import logging
import os
import zipfile
from dataclasses import replace

import makers
import numpy as np
import pytest
import torch
from PIL import Image

from sugar_search.data import image_folder, tiny_imagenet_200
from sugar_search.data._about import data_mark
from sugar_search.data._images import decode_rgb, square
from sugar_search.data._load import load_dataset
from sugar_search.errors import FileError
from sugar_search.vision import load as load_vision

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


# --- Folders of images -----------------------------------------------------------------------------------------------


def test_an_image_folder_is_what_torchvision_reads(tmp_path):
    makers.make_image_folder(tmp_path, train=5, val=2, test=3, size=(96, 64))
    (tmp_path / "train" / "cat" / "deeper").mkdir()
    makers._save(makers.make_images(1, 3, 64)[0][0], tmp_path / "train" / "cat" / "deeper" / "x.PNG")
    (tmp_path / "train" / "dog" / "notes.txt").write_text("no image")
    dataset = load_dataset("image-folder", data_dir=tmp_path)
    assert dataset.name == "image_folder/64" and dataset.outputs == 3 and dataset.input_shape == (3, 64, 64)
    datasets, transforms = load_vision("torchvision.datasets"), load_vision("torchvision.transforms")
    steps = [transforms.Resize(64, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(64)]
    read = transforms.Compose([*steps, transforms.PILToTensor()])
    for split, name in ((dataset.train, "train"), (dataset.validation, "val"), (dataset.test, "test")):
        theirs = datasets.ImageFolder(tmp_path / name, read)
        assert len(split) == len(theirs) > 0
        ours = dict.fromkeys(range(len(split)))
        for image, label in theirs:  # their order within a class is that of os.walk
            match = [i for i in ours if split.targets[i] == label and torch.equal(split.inputs[i], image)]
            assert match
            del ours[match[0]]
    assert image_folder.EXTENSIONS == load_vision("torchvision.datasets.folder").IMG_EXTENSIONS


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (50, 50), (200, 100), (33, 150), (500, 3)])
@pytest.mark.parametrize("side", [32, 64])
def test_images_are_scaled_by_the_shorter_side_and_cut_in_the_centre(size, side):
    transforms = load_vision("torchvision.transforms")
    pixels = makers.make_images(1, 2, max(size))[0][0][:, : size[1], : size[0]]
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    steps = [transforms.Resize(side, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(side)]
    theirs = np.asarray(transforms.Compose(steps)(image)).astype(int)
    ours = np.asarray(square(image, side)).astype(int)
    # Torchvision rounds the longer side and the crop to whole pixels of the result.
    exact = (max(size) * side) % min(size) == 0 and (max(size) * side // min(size) - side) % 2 == 0
    assert ours.shape == (side, side, 3)
    assert np.array_equal(ours, theirs) if exact else abs(ours - theirs).mean() < 12


def test_the_side_is_the_variant_and_the_class_lists_are_alphabetical(tmp_path):
    makers.make_image_folder(tmp_path, classes=("b", "a"), train=2, test=1)
    for side in image_folder.VARIANTS:
        dataset = load_dataset(f"image_folder/{side}", data_dir=tmp_path)
        assert dataset.input_shape == (3, int(side), int(side)) and dataset.train.targets.tolist() == [0, 0, 1, 1]


def test_without_a_test_folder_the_validation_images_are_the_test_set_and_that_is_said(tmp_path, caplog):
    makers.make_image_folder(tmp_path, train=3, val=2, test=0)
    (tmp_path / "val").rename(tmp_path / "validation")
    with caplog.at_level(logging.INFO, "sugar_search"):
        dataset = load_dataset("image_folder/32", data_dir=tmp_path)
    assert dataset.validation is None and len(dataset.test) == 6 and len(dataset.with_validation(0.34, 0).train) == 6
    assert "has no test/: validation is the test set, validation is cut out of train/" in caplog.text


def spoil(folder, kind):
    (folder / "train" / "cat" / "0.png").write_bytes(b"") if kind == "an empty image" else None
    if kind == "no train":
        makers.remove(folder / "train")
    if kind == "no test":
        makers.remove(folder / "test")
    if kind == "one class":
        for split in ("train", "test"):
            for name in ("dog", "eel"):
                makers.remove(folder / split / name)
    if kind == "another class":
        (folder / "test" / "dog").rename(folder / "test" / "fox")
    if kind == "an empty class":
        (folder / "train" / "fox").mkdir()
        (folder / "test" / "fox").mkdir()
    if kind == "val and validation":
        (folder / "val").mkdir()
        (folder / "validation").mkdir()
    if kind == "a link to nothing":
        (folder / "train" / "cat" / "x.png").symlink_to(folder / "none")
    if kind == "a bomb":
        header = b"P6\n60000 60000\n255\n"  # 10 GiB of pixels, announced
        (folder / "train" / "cat" / "x.ppm").write_bytes(header + b"x" * 100)


FOLDER_DAMAGE = {
    "an empty image": r"train/cat/0.png must be a whole image",
    "no train": r"image_folder needs train/ in the folder of --data-dir.*put images into train/CLASS/ and test/CLASS/",
    "no test": r"must have test/ \(or val/\), got 'neither'; put images",
    "one class": r"train must have two classes or more, got 1",
    "another class": r"test must have the classes of .*train, got '2 differ, such as dog'",
    "an empty class": r"train/fox must hold images, got 'none'; the kinds known: .jpg",
    "val and validation": r"must have one of val/ and validation/",
    "a link to nothing": r"train/cat/x.png must be readable",
    "a bomb": r"train/cat/x.ppm must be a whole image",
}


@pytest.mark.parametrize("kind", FOLDER_DAMAGE)
def test_damage_to_an_image_folder_is_one_line(tmp_path, kind):
    makers.make_image_folder(tmp_path, train=2, test=1)
    spoil(tmp_path, kind)
    with pytest.raises(FileError, match=FOLDER_DAMAGE[kind]) as error:
        load_dataset("image_folder/32", data_dir=tmp_path)
    assert "\n" not in str(error.value)
    assert not [p for p in (tmp_path / "decoded").glob("*") if not p.name.endswith(".lock")]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16"])
def test_every_mode_of_an_image_becomes_rgb(tmp_path, mode):
    deep = np.full((8, 8), 40_000, np.uint16)
    image = Image.fromarray(deep) if mode == "I;16" else Image.new("RGB", (8, 8), (200, 99, 9)).convert(mode)
    image.save(tmp_path / "x.tiff" if mode == "CMYK" else tmp_path / "x.png")
    raw = next(tmp_path.iterdir()).read_bytes()
    assert np.asarray(decode_rgb(raw, "x")).shape == (8, 8, 3)


def test_hidden_files_links_in_circles_and_dead_links(tmp_path):
    makers.make_image_folder(tmp_path, train=4)
    plain = load_dataset("image_folder/32", data_dir=tmp_path)
    before = data_mark("image_folder/32", tmp_path)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "train" / "cat" / "._0.jpg").write_bytes(b"not an image")
    (tmp_path / "train" / "cat" / "loop").symlink_to(".")
    assert data_mark("image_folder/32", tmp_path) == before
    again = image_folder.load("32", data_dir=tmp_path)
    assert len(again.train) == len(plain.train) == 12 and again.outputs == 3
    (tmp_path / "train" / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    assert data_mark("image_folder/32", tmp_path) == before


def test_sixteen_bits_of_grey_are_scaled_and_not_clipped():
    grey = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    decoded = np.asarray(decode_rgb(file.getvalue(), "x.png"))
    assert np.abs(decoded[..., 0].astype(int) - grey // 257).max() <= 1
    file = io.BytesIO()
    Image.fromarray(grey.astype(np.float32)).save(file, "TIFF")
    with pytest.raises(FileError, match="8 or 16 bits"):
        decode_rgb(file.getvalue(), "x.tif")
