"""Your own photographs under --data-dir: train/CLASS/*, test/CLASS/*, optional val/CLASS/* (image_folder/128: 128x128).

The layout and the kinds of files are those of `torchvision.datasets.ImageFolder`. Images are decoded once: RGB, the
shorter side scaled to the side named (bicubic), the centre cut out.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from sugar_search.data._about import DATA_DIR
from sugar_search.data._dataset import Dataset
from sugar_search.data._decoded import Chunk, Source, open_decoded
from sugar_search.data._images import channels_first, decode_rgb, in_chunks, square
from sugar_search.errors import FileError

VARIANTS: tuple[str, ...] = ("32", "64", "128", "224")  # side in pixels
RECIPE = "own-data"  # what a search uses when it is given none
NATURAL = True
DEFAULT = "64"  # when none is named
SPLITS = ("train", "val", "validation", "test")
# torchvision.datasets.folder.IMG_EXTENSIONS, repeated here because importing it takes seconds.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

log = logging.getLogger("sugar_search")


def load(variant: str | None = None, *, seed: int = 0, data_dir: Path | None = None, offline: bool = True) -> Dataset:
    """The images as uint8, classes in alphabetical order of their folders.

    Without test/ the images of val/ are the test set, and validation is cut out of train/.

    Args:
        variant: side of the decoded images in pixels, "64" when None.
        seed: ignored, the splits are the folders.
        data_dir: holds the folders; "data" when None.
        offline: ignored, nothing is downloaded.

    Raises:
        FileError: a folder is missing or empty, the folders differ in classes, or an image is damaged.
    """
    side, folder = variant or DEFAULT, data_dir or DATA_DIR
    return open_decoded(f"image_folder/{side}", folder, lambda: _source(folder, int(side)), _stamp)


def mark(data_dir: Path) -> str:
    """Eight letters that stand for these files: their names and sizes, wherever the folder lies and whenever copied."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for path in _walk(data_dir / split):
            with suppress(OSError):  # a link to nothing: decoding says so
                digest.update(f"{path.relative_to(data_dir)}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()[:8]


def _splits(folder: Path) -> dict[str, Path]:
    """The folder of each split."""
    found = {name: folder / name for name in SPLITS if (folder / name).is_dir()}
    layout = "put images into train/CLASS/ and test/CLASS/"
    if "train" not in found:
        raise FileError("image_folder needs train/ in the folder of --data-dir", str(folder), layout)
    if "val" in found and "validation" in found:
        raise FileError(f"{folder} must have one of val/ and validation/", "both", "rename one")
    validation = found.pop("val", None) or found.pop("validation", None)
    if "test" not in found:
        if validation is None:
            raise FileError(f"{folder} must have test/ (or val/)", "neither", layout)
        log.info("%s has no test/: %s is the test set, validation is cut out of train/", folder, validation.name)
        return {"train": found["train"], "test": validation}
    middle = {} if validation is None else {"validation": validation}
    return {"train": found["train"], **middle, "test": found["test"]}


def _source(folder: Path, side: int) -> Source:
    splits = _splits(folder)
    classes = _classes(splits["train"])
    if len(classes) < 2:
        raise FileError(
            f"{splits['train']} must have two classes or more", len(classes), "make a folder for each class"
        )
    for path in splits.values():
        if wrong := set(classes) ^ set(_classes(path)):
            rule = f"{path} must have the classes of {splits['train']}"
            raise FileError(rule, f"{len(wrong)} differ, such as {min(wrong)}", "complete the folders")
    items = {split: _items(path, classes) for split, path in splits.items()}

    def image(item: tuple[Path, int]) -> np.ndarray:
        try:
            raw = item[0].read_bytes()
        except OSError as error:
            raise FileError(f"{item[0]} must be readable", error.strerror or str(error), "check it") from error
        return channels_first(square(decode_rgb(raw, str(item[0])), side))

    def chunks() -> Iterator[Chunk]:
        for split, listed in items.items():
            for start, images in in_chunks(listed, image):
                labels = [label for _, label in listed[start : start + len(images)]]
                yield split, images, np.array(labels, np.int64)

    count = sum(map(len, items.values()))
    return Source((folder,), tuple(classes), count * (3 * side * side + 8), chunks)


def _classes(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _items(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """File and class of every image, class by class, in alphabetical order."""
    found = []
    for label, name in enumerate(classes):
        paths = [path for path in _walk(folder / name) if path.name.lower().endswith(EXTENSIONS)]
        if not paths:
            raise FileError(f"{folder / name} must hold images", "none", f"the kinds known: {' '.join(EXTENSIONS)}")
        found += [(path, label) for path in paths]
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below, without hidden ones; a folder that a link leads to twice counts once."""
    seen = set()
    for here, below, files in os.walk(folder, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(here) / file for file in sorted(files) if not file.startswith("."))


def _stamp(folder: Path) -> list[int | str]:
    """Number of files, and a digest of their names, sizes and times."""
    digest, count = hashlib.sha256(), 0
    for split in SPLITS:
        for path in _walk(folder / split):
            try:
                stat = path.stat()
            except OSError:  # a link to nothing; decoding names it
                continue
            digest.update(f"{path.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
            count += 1
    return [count, digest.hexdigest()]
