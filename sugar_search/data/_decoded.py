"""Images decoded once into plain .npy files, which every process maps into memory without a copy.

A decoded folder holds `<split>.images.npy` (uint8, samples x channels x height x width), `<split>.labels.npy` (int64)
and `manifest.json`. It is written as a draft and appears by one rename; it is decoded again when its source has changed
or a file of it is damaged.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sugar_search.data._dataset import Dataset, Split
from sugar_search.data._fetch import check_free, locked
from sugar_search.data._pixels import mean_and_std, pixel_sums
from sugar_search.errors import FileError

__all__ = ["Chunk", "Source", "open_decoded"]

log = logging.getLogger("sugar_search")

FORMAT = 1  # of the folder; another one is decoded again
MANIFEST = "manifest.json"
Chunk = tuple[str, np.ndarray, np.ndarray]  # split, images (n, channels, height, width) uint8, labels (n,)
Stamp = Callable[[Path], Sequence[int | str]]
# What the system says where nothing can be written (or a file is in the way); decoded data then go to the user's cache.
UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


@dataclass(frozen=True)
class Source:
    """Images before they are decoded.

    Attributes:
        paths: files and folders that the images come from; decoded data are as old as their stamps.
        classes: names, in the order of the labels.
        nbytes: of the decoded images, for the check of free disk space.
        chunks: yields the images in order, each split in one piece; raises `FileError` on damaged ones.
    """

    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    nbytes: int
    chunks: Callable[[], Iterator[Chunk]]


def size_and_time(path: Path) -> Sequence[int]:
    """The ordinary stamp of a file or folder."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def open_decoded(name: str, data_dir: Path, find: Callable[[], Source], stamp: Stamp = size_and_time) -> Dataset:
    """A dataset of images mapped into memory, decoded first where that has not been done.

    Args:
        name: of the dataset, with its variant.
        data_dir: the decoded folder is `data_dir/decoded/<name>`, or lies in the user's cache where `data_dir` cannot
            be written.
        find: gives the source; called only when there is something to decode.
        stamp: what of a path is remembered, to see that it has changed.

    Raises:
        FileError: the source is missing or damaged, or there is no room for the decoded images.
    """
    places = _places(name, data_dir)
    for place in places:
        if found := _read(name, place, data_dir, stamp):
            return found
    try:
        source = find()
    except OSError as error:
        raise FileError(
            f"{data_dir} must be readable", error.strerror or str(error), "give another --data-dir"
        ) from error
    for place in places:
        try:
            return _decode(name, place, data_dir, source, stamp)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise FileError(f"{place} must be writable", error.strerror or str(error), "make room") from error
            log.info("decoded images cannot be kept in %s (%s)", place.parent, error.strerror)
    remedy = "give --data-dir or XDG_CACHE_HOME a folder that can be written"
    raise FileError("decoded images need a folder", ", ".join(str(place.parent) for place in places), remedy)


def _places(name: str, data_dir: Path) -> tuple[Path, Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sugar-search"
    folder = name.replace("/", "-")
    owner = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
    return data_dir / "decoded" / folder, cache / f"{folder}-{owner}"


def _read(name: str, folder: Path, data_dir: Path, stamp: Stamp) -> Dataset | None:
    """The dataset that `folder` holds; None when there is none, or it is stale or damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except OSError:
        return None
    except ValueError:
        log.info("%s is damaged and is decoded again", folder)
        return None
    try:
        if manifest["format"] != FORMAT or manifest["name"] != name:
            return None
        if manifest["sources"] != [[path, *stamp(data_dir / path)] for path, *_ in manifest["sources"]]:
            log.info("the files behind %s have changed: decoded again", folder)
            return None
        if any((folder / file).stat().st_size != size for file, size in manifest["files"].items()):
            raise ValueError("a file has another size")
        splits = {split: _map(folder, split, manifest["samples"][split]) for split in manifest["samples"]}
        return Dataset(
            name,
            "classification",
            len(manifest["classes"]),
            splits["train"],
            splits.get("validation"),
            splits["test"],
            tuple(manifest["mean"]),
            tuple(manifest["std"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.info("%s is damaged or its source is gone (%s): decoded again", folder, error)
        return None


def _map(folder: Path, split: str, samples: int) -> Split:
    """A split whose pages are those of the files: mapped privately, so that nothing can write to them."""
    arrays = [np.load(folder / f"{split}.{part}.npy", mmap_mode="c") for part in ("images", "labels")]
    images, labels = map(torch.from_numpy, arrays)
    if images.dtype != torch.uint8 or images.ndim != 4 or not len(images) == len(labels) == samples:
        raise ValueError(f"{split} is not what the manifest says")
    return Split(images, labels)


def _decode(name: str, folder: Path, data_dir: Path, source: Source, stamp: Stamp) -> Dataset:
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (folder.parent / f".{folder.name}.{kind}" for kind in ("draft", "old"))
    with locked(folder.parent / f".{folder.name}.lock", f"the decoding of {name}"):
        for left in (draft, old):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        if found := _read(name, folder, data_dir, stamp):
            return found
        log.info("decoding %s into %s, once", name, folder)
        check_free(folder.parent, source.nbytes, f"decoding {name}")
        try:
            draft.mkdir()
            stamps = [[os.path.relpath(path, data_dir), *stamp(path)] for path in source.paths]
            _write(name, draft, source, stamps)
            if folder.exists():
                folder.replace(old)
            draft.replace(folder)
        finally:
            for left in (draft, old):
                shutil.rmtree(left, ignore_errors=True)
        found = _read(name, folder, data_dir, stamp)
    if found is None:
        raise FileError(f"{name} must stay as it is while it is decoded", str(data_dir), "try again")
    return found


def _write(name: str, draft: Path, source: Source, stamps: list[list[int | str]]) -> None:
    files: dict[str, _Growing] = {}
    totals: Any = 0
    try:
        for split, images, labels in source.chunks():
            for part, array, dtype in (("images", images, "|u1"), ("labels", labels, "<i8")):
                file = f"{split}.{part}.npy"
                if file not in files:
                    files[file] = _Growing(draft / file, dtype, array.shape[1:])
                files[file].append(array)
            if split == "train":
                totals = totals + pixel_sums(images)
        for split in ("train", "test"):
            if f"{split}.images.npy" not in files:
                raise FileError(f"{name} must have {split} images", str(source.paths[0]), "complete the files")
    finally:
        for file in files.values():
            file.close()
    mean, std = mean_and_std(totals)
    manifest = {
        "format": FORMAT,
        "name": name,
        "sources": stamps,
        "classes": source.classes,
        "samples": {file.removesuffix(".images.npy"): files[file].rows for file in files if "images" in file},
        "files": {file: (draft / file).stat().st_size for file in files},
        "mean": mean,
        "std": std,
    }
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=1))


class _Growing:
    """An .npy file that is written row by row and learns its length at the end.

    Ordinary writes: a full disk is then an error of the system, where it would kill a process that writes to a map.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        self.file, self.dtype, self.shape, self.rows = path.open("wb"), dtype, shape, 0
        self.start = self._header()

    def _header(self) -> int:
        self.file.seek(0)
        # numpy pads the header so that the first axis may grow in place.
        layout = {"descr": self.dtype, "fortran_order": False, "shape": (self.rows, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, layout)
        return self.file.tell()

    def append(self, array: np.ndarray) -> None:
        if array.shape[1:] != self.shape:
            raise ValueError(f"rows of shape {array.shape[1:]} in a file of {self.shape}")
        self.file.write(np.ascontiguousarray(array, self.dtype).data)
        self.rows += len(array)

    def close(self) -> None:
        with self.file:
            if self._header() != self.start:
                raise ValueError("the header of an .npy file has grown")
            self.file.flush()
            os.fsync(self.file.fileno())
