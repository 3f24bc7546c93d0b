"""CIFAR-100: 50,000 training and 10,000 test photographs, 32x32 RGB, 100 classes (downloaded, 161 MiB).

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. The classes are the 100 fine ones.
"""

from pathlib import Path

from sugar_search.data._about import DATA_DIR, Facts
from sugar_search.data._cifar import Cifar, load_cifar
from sugar_search.data._dataset import Dataset

VARIANTS: tuple[str, ...] = ()
RECIPE = "paper-b"  # what a search uses when it is given none
NATURAL = True
FILES = ("cifar-100-python.tar.gz", "cifar-100-python", "meta")  # any of them: nothing is downloaded
CIFAR = Cifar(
    name="cifar100",
    torchvision="CIFAR100",
    classes=100,
    labels="fine_labels",
    archive_bytes=169_001_437,
    batch_bytes={"train": 155_249_918},
)
FACTS = {"": Facts((3, 32, 32), 100, 50_000, 10_000, natural=True, download_bytes=CIFAR.archive_bytes)}


def load(variant: str | None = None, *, seed: int = 0, data_dir: Path | None = None, offline: bool = True) -> Dataset:
    """The official training and test images as uint8; a recipe cuts its validation split out of the former.

    Args:
        variant: there is none.
        seed: ignored, the splits are the official ones.
        data_dir: holds cifar-100-python.tar.gz or cifar-100-python, or is the latter; "data" when None.
        offline: never download.

    Raises:
        FileError: the files are missing or damaged, or cannot be downloaded or decoded.
    """
    return load_cifar(CIFAR, data_dir or DATA_DIR, offline)
