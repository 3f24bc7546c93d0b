"""Reads the pickled batches of CIFAR without running anything that they name.

A pickle is a program: the ordinary unpickler imports and calls whatever the file says. Here only the few names that an
array of numbers is written with are known, and each is answered by a plain function or record of this module; numpy's
own unpickling is not reached either.
"""

import pickle  # no loading function of it is called
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sugar_search.errors import FileError

__all__ = ["read_batch"]

MAX_FAULT = 100  # characters shown of what the unpickler says


class _Refused(Exception):
    """The file names something that is not part of an array."""


class _Dtype:
    """Stands for numpy.dtype: numbers and booleans only."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = code.decode() if isinstance(code, bytes) else str(code), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode() if isinstance(order, bytes) else order

    def dtype(self) -> np.dtype[Any]:
        if not re.fullmatch(r"[biuf][1248]", self.code) or self.order not in ("<", ">", "=", "|"):
            raise _Refused(f"an array of {self.code!r}")
        return np.dtype(self.code).newbyteorder("=" if self.order == "|" else self.order)


class _Array:
    """Stands for numpy.ndarray; `array` makes the real one out of the bytes."""

    def __init__(self, raw: Any = b"", kind: Any = None, shape: Any = (0,), order: str = "C") -> None:
        self.raw, self.kind, self.shape, self.order = raw, kind, shape, order

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.kind, fortran, self.raw = state
        self.order = "F" if fortran else "C"

    def array(self) -> np.ndarray:
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
        return np.frombuffer(raw, self.kind.dtype()).reshape(self.shape, order=self.order)  # type: ignore[call-overload]


def _scalar(kind: Any, raw: Any) -> Any:
    return np.frombuffer(raw, kind.dtype())[0].item()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise _Refused("a codec other than latin1")
    return text.encode("latin1")


# Names of numpy 1 and 2, and the one by which Python 3 writes bytes for Python 2.
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: _Array() for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Array for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, _: Any) -> Any:
        raise _Refused("an object outside the file")


def read_batch(file: BinaryIO, path: Path | str) -> dict[str, Any]:
    """The dictionary of a CIFAR batch or meta file; arrays are numpy arrays, keys are text.

    Args:
        file: open for reading.
        path: its name in messages.

    Raises:
        FileError: the file is truncated or damaged, names anything but arrays of numbers, or holds no dictionary.
    """
    remedy = "download it again"
    try:
        content = _Unpickler(file, encoding="bytes").load()
        if type(content) is not dict:
            raise ValueError("no dictionary")
        return {
            key.decode() if isinstance(key, bytes) else str(key): value.array() if isinstance(value, _Array) else value
            for key, value in content.items()
        }
    except _Refused as refused:
        raise FileError(f"{path} must hold nothing but arrays and lists", str(refused), "do not use it") from None
    except OSError as error:
        # A gzip stream that ends early or fails its checksum, or a disk that cannot be read.
        raise FileError(f"{path} must be readable", _said(error), remedy) from error
    except Exception as error:  # damaged bytes can make the unpickler raise almost anything
        raise FileError(f"{path} must be a whole pickled batch", _said(error), remedy) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_FAULT]
