"""Tiny-ImageNet-200: 100,000 training and 10,000 test photographs, 64x64 RGB, 200 classes (downloaded, 237 MiB).

Source: Stanford CS231n, http://cs231n.stanford.edu/tiny-imagenet-200.zip. Its official validation images are the test
set here, as its own test images have no labels; classes are numbered in the order of their WordNet ids.
"""

import logging
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sugar_search.data._about import DATA_DIR, Facts
from sugar_search.data._dataset import Dataset
from sugar_search.data._decoded import Chunk, Source, open_decoded
from sugar_search.data._fetch import Remote, fetch, is_published
from sugar_search.data._images import channels_first, decode_rgb, in_chunks
from sugar_search.errors import FileError

VARIANTS: tuple[str, ...] = ()
RECIPE = "paper-b"  # what a search uses when it is given none
NATURAL = True
FILES = ("tiny-imagenet-200.zip", "tiny-imagenet-200", "wnids.txt")  # any of them: nothing is downloaded
CLASSES, SIDE = 200, 64
BASE = "tiny-imagenet-200"  # the folder inside the archive
REMOTE = Remote(
    url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    file="tiny-imagenet-200.zip",
    size=248_100_043,
    md5="90528d7ca1a48142e341f4ef8d21d0de",
)
FACTS = {"": Facts((3, SIDE, SIDE), CLASSES, 100_000, 10_000, natural=True, download_bytes=REMOTE.size)}

log = logging.getLogger("sugar_search")

ANNOTATIONS = "val/val_annotations.txt"
MAX_FILE = 2**24  # bytes of one file in the archive; the largest real one has less than a million
AGAIN = "download or extract it again"


def load(variant: str | None = None, *, seed: int = 0, data_dir: Path | None = None, offline: bool = True) -> Dataset:
    """The official images as uint8; a recipe cuts its validation split out of the training images.

    Args:
        variant: there is none.
        seed: ignored, the splits are the official ones.
        data_dir: holds tiny-imagenet-200.zip or the folder tiny-imagenet-200, or is the latter; "data" when None.
        offline: never download.

    Raises:
        FileError: the files are missing or damaged, or cannot be downloaded or decoded.
    """
    folder = data_dir or DATA_DIR
    return open_decoded("tiny_imagenet_200", folder, lambda: _source(_find(folder, offline)))


@dataclass(frozen=True)
class _Files:
    """The files of either layout, by their names below tiny-imagenet-200.

    Attributes:
        path: the archive or the folder.
        paths: what is stamped.
        names: of all images, in order.
        reader: a context that gives a function from a name to the file's content.
    """

    path: Path
    paths: tuple[Path, ...]
    names: Sequence[str]
    reader: Callable[[], "contextmanager[Callable[[str], bytes]]"]  # type: ignore[valid-type]


def _find(data_dir: Path, offline: bool) -> _Files:
    for folder in (data_dir / BASE, data_dir):
        if (folder / "wnids.txt").is_file():
            return _folder(folder)
    archive = data_dir / REMOTE.file
    if not archive.is_file():
        if (data_dir / BASE / "train").is_dir():
            raise FileError(f"{data_dir / BASE} must be complete", "no wnids.txt", "extract the archive again")
        if offline:
            looked = f"no {REMOTE.file} or {BASE} in {data_dir}"
            raise FileError("tiny_imagenet_200 needs its files", looked, "give --data-dir, or leave out --offline")
        fetch(REMOTE, data_dir)
    return _archive(archive)


def _folder(folder: Path) -> _Files:
    names, folders = [], []
    for split in ("train", "val"):
        for here, below, files in os.walk(folder / split):
            below.sort()
            if images := [file for file in files if file.lower().endswith(".jpeg") and not file.startswith(".")]:
                folders.append(Path(here))
                names += [(Path(here) / file).relative_to(folder).as_posix() for file in images]

    @contextmanager
    def reader() -> Iterator[Callable[[str], bytes]]:
        def read(name: str) -> bytes:
            try:
                return (folder / name).read_bytes()
            except OSError as error:
                raise FileError(f"{folder / name} must be readable", error.strerror or str(error), AGAIN) from error

        yield read

    texts = (folder / name for name in ("wnids.txt", ANNOTATIONS) if (folder / name).exists())
    return _Files(folder, (*texts, *folders), sorted(names), reader)


def _archive(path: Path) -> _Files:
    if not is_published(path, REMOTE.size, REMOTE.md5):
        log.info("%s is not the published file: used as it is", path)

    @contextmanager
    def opened() -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(path) as file:
                yield file
        except FileError:
            raise
        except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
            said = f"{type(error).__name__}: {error}"
            raise FileError(f"{path} must be a whole .zip archive", said, "download it again") from error

    @contextmanager
    def reader() -> Iterator[Callable[[str], bytes]]:
        with opened() as file:

            def read(name: str) -> bytes:
                try:
                    info = file.getinfo(f"{BASE}/{name}")
                    if info.file_size > MAX_FILE:
                        raise ValueError(f"{info.file_size} bytes in one file")
                    return file.read(info)
                except Exception as error:  # a checksum, a method that is not known, a password, a damaged stream
                    said = "no such file" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
                    raise FileError(f"{path}:{BASE}/{name} must be readable", said, "download it again") from error

            yield read

    with opened() as file:
        # Only names of this very form are looked at, so that a path out of the archive's folder means nothing.
        found = [name.removeprefix(f"{BASE}/") for name in file.namelist() if name.startswith(f"{BASE}/")]
    images = sorted({name for name in found if name.lower().endswith(".jpeg")})
    return _Files(path, (path,), images, reader)


def _source(files: _Files) -> Source:
    with files.reader() as read:
        wnids = _text(read, files, "wnids.txt").split()
        if len(wnids) != CLASSES or len(set(wnids)) != CLASSES:
            rule = f"{files.path}: wnids.txt must name {CLASSES} different classes"
            raise FileError(rule, f"{len(set(wnids))} names", AGAIN)
        classes = sorted(wnids)
        splits = {"train": _train(files, set(classes)), "test": _val(files, set(classes), read)}
    number = {wnid: i for i, wnid in enumerate(classes)}

    def chunks() -> Iterator[Chunk]:
        with files.reader() as read:

            def image(item: tuple[str, str]) -> np.ndarray:
                name = item[0]
                return channels_first(decode_rgb(read(name), f"{files.path / name}", (SIDE, SIDE)))

            for split, items in splits.items():
                for start, images in in_chunks(items, image):
                    labels = [number[wnid] for _, wnid in items[start : start + len(images)]]
                    yield split, images, np.array(labels, np.int64)

    count = sum(map(len, splits.values()))
    return Source(files.paths, tuple(classes), count * (3 * SIDE * SIDE + 8), chunks)


def _text(read: Callable[[str], bytes], files: _Files, name: str) -> str:
    try:
        return read(name).decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{files.path}: {name} must be text", str(error), AGAIN) from error


def _train(files: _Files, classes: set[str]) -> list[tuple[str, str]]:
    """Name and class of every training image, class by class."""
    found = [(name, match[1]) for name in files.names if (match := re.fullmatch(r"train/([^/]+)/images/[^/]+", name))]
    if wrong := {wnid for _, wnid in found} ^ classes:
        rule = f"{files.path} must have training images of the {CLASSES} classes of wnids.txt and no others"
        raise FileError(rule, f"{len(wrong)} differ, such as {min(wrong)}", AGAIN)
    return found


def _val(files: _Files, classes: set[str], read: Callable[[str], bytes]) -> list[tuple[str, str]]:
    """Name and class of every official validation image, in order of their names."""
    found = [name for name in files.names if re.fullmatch(r"val/images/[^/]+", name)]
    where = f"{files.path}: {ANNOTATIONS}"
    rows = [line.split("\t") for line in _text(read, files, ANNOTATIONS).splitlines() if line.strip()]
    listed = {f"val/images/{row[0]}": row[1] for row in rows if len(row) > 1}
    if wrong := set(listed) ^ set(found):
        rule = f"{where} must list every image of val/images and no others"
        raise FileError(rule, f"{len(wrong)} differ, such as {min(wrong)}", AGAIN)
    if strange := set(listed.values()) - classes:
        raise FileError(f"{where} must name classes of wnids.txt", min(strange), AGAIN)
    return [(name, listed[name]) for name in found]
