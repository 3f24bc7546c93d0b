"""Handwritten digits bundled with scikit-learn: 10 classes, 8x8 (or digits/32: 32x32) grey images, split 600/400/797.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part, 1,797 images).
"""

from pathlib import Path

import torch
from torch.nn import functional as F

from sugar_search.data._about import Facts
from sugar_search.data._dataset import Dataset, Split

VARIANTS: tuple[str, ...] = ("8", "32")
RECIPE = "digits"  # what a search uses when it is given none
SIZES = (600, 400, 797)  # train, validation, test images
FACTS = {
    variant: Facts((1, side, side), 10, SIZES[0], SIZES[2], natural=False, download_bytes=0, validation=SIZES[1])
    for variant, side in {"": 8, "8": 8, "32": 32}.items()
}
SPLIT_SEED = 0  # the split is part of the dataset: it never follows a run's seed


def load(variant: str | None = None, *, seed: int = 0, data_dir: Path | None = None, offline: bool = True) -> Dataset:
    """The digits, normalised by the mean and standard deviation of the training pixels.

    Args:
        variant: "8" (the default), or "32" for bilinear enlargement to 32x32.
        seed: ignored, the split is fixed.
        data_dir: ignored, the data come with scikit-learn.
        offline: ignored, nothing is downloaded.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8)
    targets = torch.tensor(labels, dtype=torch.int64)
    if variant == "32":
        inputs = F.interpolate(inputs, size=(32, 32), mode="bilinear", align_corners=False)
    rest, test = train_test_split(range(len(labels)), test_size=SIZES[2], random_state=SPLIT_SEED, stratify=labels)
    train, validation = train_test_split(rest, test_size=SIZES[1], random_state=SPLIT_SEED, stratify=labels[rest])
    inputs = (inputs - inputs[train].mean()) / inputs[train].std()
    parts = (Split(inputs[rows], targets[rows]) for rows in (train, validation, test))
    return Dataset("digits/32" if variant == "32" else "digits", "classification", 10, *parts)
