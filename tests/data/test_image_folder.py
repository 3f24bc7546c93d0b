"""Folders of images: what is decoded, how images become squares of RGB, and damage as one clear line."""

import io
import logging

import makers
import numpy as np
import pytest
import torch
from PIL import Image

from sugar_search.data import image_folder
from sugar_search.data._about import data_mark
from sugar_search.data._images import decode_rgb, square
from sugar_search.data._load import load_dataset
from sugar_search.errors import FileError
from sugar_search.vision import load as load_vision


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
