"""CIFAR-10: 50,000 training and 10,000 test photographs, 32x32 RGB, 10 classes (downloaded, 163 MiB).

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from pathlib import Path

from sugar_search.data._about import DATA_DIR, Facts
from sugar_search.data._cifar import Cifar, load_cifar
from sugar_search.data._dataset import Dataset

VARIANTS: tuple[str, ...] = ()
RECIPE = "paper-b"  # what a search uses when it is given none
NATURAL = True
FILES = ("cifar-10-python.tar.gz", "cifar-10-batches-py", "batches.meta")  # any of them: nothing is downloaded
CIFAR = Cifar(
    name="cifar10",
    torchvision="CIFAR10",
    classes=10,
    labels="labels",
    archive_bytes=170_498_071,
    batch_bytes={
        "data_batch_1": 31_035_704,
        "data_batch_2": 31_035_320,
        "data_batch_3": 31_035_999,
        "data_batch_4": 31_035_696,
        "data_batch_5": 31_035_623,
        "test_batch": 31_035_526,
    },
)
FACTS = {"": Facts((3, 32, 32), 10, 50_000, 10_000, natural=True, download_bytes=CIFAR.archive_bytes)}


def load(variant: str | None = None, *, seed: int = 0, data_dir: Path | None = None, offline: bool = True) -> Dataset:
    """The official training and test images as uint8; a recipe cuts its validation split out of the former.

    Args:
        variant: there is none.
        seed: ignored, the splits are the official ones.
        data_dir: holds cifar-10-python.tar.gz or cifar-10-batches-py, or is the latter; "data" when None.
        offline: never download.

    Raises:
        FileError: the files are missing or damaged, or cannot be downloaded or decoded.
    """
    return load_cifar(CIFAR, data_dir or DATA_DIR, offline)
