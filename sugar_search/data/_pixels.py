"""Mean and standard deviation of the pixels of many images, exact and without a copy of them."""

import math

import numpy as np

__all__ = ["mean_and_std", "pixel_sums"]

BLOCK = 4 * 2**20  # bytes of images squared at a time


def pixel_sums(images: np.ndarray) -> np.ndarray:
    """Count, sum and sum of squares of the pixels of each channel; those of several arrays may be added.

    Args:
        images: uint8 of shape (samples, channels, height, width).

    Returns:
        int64 of shape (3, channels): exact up to 10^14 pixels.
    """
    totals = np.zeros((3, images.shape[1]), np.int64)
    step = max(1, BLOCK // max(1, images[0].nbytes))
    for start in range(0, len(images), step):
        block = images[start : start + step].astype(np.uint32)
        totals[0] += block[:, 0].size
        totals[1] += block.sum(axis=(0, 2, 3), dtype=np.int64)
        totals[2] += (block * block).sum(axis=(0, 2, 3), dtype=np.int64)
    return totals


def mean_and_std(totals: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel, of pixels scaled to 0..1; the standard deviation of a channel of one grey is given as 1.

    Args:
        totals: of `pixel_sums`.
    """
    mean, std = [], []
    for count, total, squares in totals.T.tolist():
        mean.append(total / count / 255)
        variance = (count * squares - total * total) / count**2  # of whole numbers, so that nothing cancels
        std.append(math.sqrt(variance) / 255 if variance else 1.0)
    return tuple(mean), tuple(std)
