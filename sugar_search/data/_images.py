"""Decodes image files: any that PIL reads, to RGB, a few at a time on all cores."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from sugar_search.errors import FileError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["channels_first", "decode_rgb", "in_chunks", "square"]

CHUNK = 256  # images held at once
THREADS = 8
Item = TypeVar("Item")


def decode_rgb(raw: bytes, where: str, size: tuple[int, int] | None = None) -> "Image":
    """An encoded image as RGB; grey becomes three equal channels.

    Args:
        raw: the file's content.
        where: its name in messages.
        size: the (width, height) that it must have; None: any.

    Raises:
        FileError: it is truncated, damaged, no image, too large to be one, or has another size.
    """
    import PIL.Image

    try:
        with PIL.Image.open(BytesIO(raw)) as image:
            if size is not None and image.size != size:
                raise FileError(f"{where} must have {size[0]}x{size[1]} pixels", "{}x{}".format(*image.size), "mend it")
            if image.mode in ("I", "F"):
                raise FileError(f"{where} must have 8 or 16 bits a pixel", f"mode {image.mode}", "convert it")
            if image.mode.startswith("I;16"):  # PIL would clip where it should scale
                return PIL.Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
            return image.convert("RGB")
    except FileError:
        raise
    except Exception as error:  # damaged bytes can make a decoder raise almost anything
        said = f"{type(error).__name__}: {error}"
        raise FileError(f"{where} must be a whole image", said, "replace or remove it") from error


def square(image: "Image", side: int) -> "Image":
    """The centre of an image whose shorter side is scaled to `side` pixels (bicubic, as torchvision's Resize)."""
    from PIL import Image

    width, height = image.size
    edge = min(width, height)
    left, top = (width - edge) / 2, (height - edge) / 2
    # A box, and not a crop afterwards: what lies outside is not computed. Pixels beyond its edge still count.
    return image.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + edge, top + edge))


def channels_first(image: "Image") -> np.ndarray:
    """An RGB image as uint8 (3, height, width)."""
    return np.asarray(image).transpose(2, 0, 1)


def in_chunks(items: Sequence[Item], read: Callable[[Item], np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yields where a chunk starts and its images, stacked, in the order of `items`."""
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as threads:
        for start in range(0, len(items), CHUNK):
            yield start, np.stack(list(threads.map(read, items[start : start + CHUNK])))
