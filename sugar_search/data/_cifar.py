"""CIFAR-10 and CIFAR-100 as they are published: pickled batches in a .tar.gz, read without extracting, or in a folder.

Addresses, checksums and names of files are those of `torchvision.datasets`.
"""

import gzip
import logging
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sugar_search.data._dataset import Dataset
from sugar_search.data._decoded import Chunk, Source, open_decoded
from sugar_search.data._fetch import Remote, fetch, is_published
from sugar_search.data._pickles import read_batch
from sugar_search.errors import FileError
from sugar_search.vision import load as load_vision

__all__ = ["Cifar", "load_cifar"]

log = logging.getLogger("sugar_search")

PIXELS = 3 * 32 * 32
MAX_MEMBER = 2**30  # bytes of one batch; the largest real one has 155 million


@dataclass(frozen=True)
class Cifar:
    """One of the two.

    Attributes:
        name: in the catalog.
        torchvision: its class there.
        classes: how many.
        labels: the key of a batch that holds the class numbers.
        archive_bytes: size of the published archive.
        batch_bytes: sizes of its batches, as far as known.
    """

    name: str
    torchvision: str
    classes: int
    labels: str
    archive_bytes: int
    batch_bytes: dict[str, int]


def load_cifar(cifar: Cifar, data_dir: Path, offline: bool) -> Dataset:
    """The dataset; validation is left to be cut out of the training images.

    Args:
        cifar: which.
        data_dir: holds the archive or the extracted folder, or is that folder.
        offline: never download.

    Raises:
        FileError: nothing is there (offline), or what is there is damaged, or cannot be downloaded or decoded.
    """
    return open_decoded(cifar.name, data_dir, lambda: _find(cifar, data_dir, offline))


def _find(cifar: Cifar, data_dir: Path, offline: bool) -> Source:
    published = getattr(load_vision("torchvision.datasets"), cifar.torchvision)
    remote = Remote(published.url, published.filename, cifar.archive_bytes, published.tgz_md5)
    batches = [name for name, _ in published.train_list + published.test_list]
    names = [published.meta["filename"], *batches]
    folders = [data_dir / published.base_folder, data_dir]
    archive = data_dir / remote.file
    for folder in folders:
        if all((folder / name).is_file() for name in names):
            return _source(cifar, published, _Folder(folder, published, cifar))
    if archive.is_file():
        return _source(cifar, published, _Archive(archive, published.base_folder, remote))
    for folder in folders:
        there = [name for name in names if (folder / name).is_file()]
        # A lone file called "meta" or "test" in the data folder is somebody else's.
        if len(there) > 1 or (there and folder.name == published.base_folder):
            missing = ", ".join(name for name in names if name not in there)
            raise FileError(f"{folder} must be complete", f"no {missing}", f"extract {remote.file} again")
    if offline:
        looked = f"{remote.file} or {published.base_folder} in {data_dir}"
        raise FileError(f"{cifar.name} needs its files", f"no {looked}", "give --data-dir, or leave out --offline")
    return _source(cifar, published, _Archive(fetch(remote, data_dir), published.base_folder, remote))


class _Folder:
    """The extracted files; each is compared with its published size and checksum."""

    def __init__(self, folder: Path, published: Any, cifar: Cifar) -> None:
        self.folder, self.sizes = folder, cifar.batch_bytes
        self.md5 = dict(published.train_list + published.test_list)
        self.paths = tuple(folder / name for name in (*self.md5, published.meta["filename"]))
        self.nbytes = sum(path.stat().st_size for path in self.paths)

    def verify(self) -> None:
        results = [is_published(self.folder / name, self.sizes.get(name), md5) for name, md5 in self.md5.items()]
        if not all(results):
            log.info("%s does not hold the published files: used as they are", self.folder)

    @contextmanager
    def reader(self) -> Iterator[Callable[[str], dict[str, Any]]]:
        yield self._read

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                return read_batch(file, path)
        except OSError as error:
            raise FileError(f"{path} must be readable", error.strerror or str(error), "check it") from error


class _Archive:
    """The .tar.gz, compared as a whole with its published size and checksum. Nothing of it is written to the disk."""

    def __init__(self, path: Path, base: str, remote: Remote) -> None:
        self.path, self.base, self.remote = path, base, remote
        self.paths = (path,)
        self.nbytes = 0  # known once it has been opened

    def verify(self) -> None:
        if not is_published(self.path, self.remote.size, self.remote.md5):
            log.info("%s is not the published file: used as it is", self.path)
            # tarfile takes a damaged stream for the end of the archive; gzip itself compares length and checksum.
            with self._whole(), gzip.open(self.path) as file:
                while file.read(2**20):
                    pass

    @contextmanager
    def reader(self) -> Iterator[Callable[[str], dict[str, Any]]]:
        with self._whole(), tarfile.open(self.path, "r:gz") as tar:
            members = tar.getmembers()
            self.nbytes = sum(member.size for member in members if member.isfile())
            yield lambda name: read_batch(self._member(tar, members, name), f"{self.path}:{self.base}/{name}")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except FileError:
            raise
        except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
            said = f"{type(error).__name__}: {error}"
            raise FileError(f"{self.path} must be a whole .tar.gz archive", said, "download it again") from error

    def _member(self, tar: tarfile.TarFile, members: list[tarfile.TarInfo], name: str) -> BinaryIO:
        """Found by its exact name: members that point out of the archive's folder are never looked at."""
        wanted = f"{self.base}/{name}"
        found = [member for member in members if member.name.removeprefix("./") == wanted]
        if not found:
            raise FileError(f"{self.path} must hold {wanted}", "no such file", "download it again")
        if not found[-1].isfile() or found[-1].size > MAX_MEMBER:
            raise FileError(f"{self.path}:{wanted} must be an ordinary file", found[-1].size, "download it again")
        return tar.extractfile(found[-1])  # type: ignore[return-value]


def _source(cifar: Cifar, published: Any, files: _Folder | _Archive) -> Source:
    files.verify()
    with files.reader() as read:
        meta = read(published.meta["filename"])
    classes = meta.get(published.meta["key"])
    where = f"{files.paths[-1]}: {published.meta['key']}"
    if not isinstance(classes, list) or len(set(map(str, classes))) != cifar.classes or len(classes) != cifar.classes:
        counted = f"{len(classes)} names" if isinstance(classes, list) else "no list"
        raise FileError(f"{where} must be {cifar.classes} different class names", counted, "download it again")

    def chunks() -> Iterator[Chunk]:
        with files.reader() as read:
            for split, listed in (("train", published.train_list), ("test", published.test_list)):
                for name, _ in listed:
                    yield split, *_images(read(name), cifar, f"{name} of {files.paths[0].parent}")

    names = tuple(each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in classes)
    return Source(files.paths, names, files.nbytes, chunks)


def _images(batch: dict[str, Any], cifar: Cifar, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) and labels of one batch."""
    remedy = "download it again"
    images, labels = batch.get("data"), batch.get(cifar.labels)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise FileError(f"{where} must hold images as bytes under 'data'", type(images).__name__, remedy)
    if images.ndim != 2 or images.shape[1] != PIXELS:
        raise FileError(f"images of {where} must have {PIXELS} bytes each", images.shape, remedy)
    if not len(images):
        raise FileError(f"{where} must hold images", "none", remedy)
    try:
        numbers = np.asarray(labels)
    except ValueError:  # a ragged list
        numbers = np.empty(0, object)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or len(numbers) != len(images):
        rule = f"{where} must hold one whole number per image under {cifar.labels!r}"
        raise FileError(rule, f"{len(images)} images, labels of shape {numbers.shape}", remedy)
    if numbers.min() < 0 or numbers.max() >= cifar.classes:
        rule = f"labels of {where} must be 0 to {cifar.classes - 1}"
        raise FileError(rule, f"{numbers.min()} to {numbers.max()}", remedy)
    return images.reshape(-1, 3, 32, 32), numbers.astype(np.int64)
