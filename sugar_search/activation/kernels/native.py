"""The kernels in C, called by pointer; what they compute is described in `portable`.

The library is built when the package is installed. Where it is missing or older than its source (a checkout), it is
built once, on first use, into the user's cache folder; without a compiler the portable kernels serve. The environment
variable SUGAR_SEARCH_NATIVE=0 switches the library off.

Work is split over `torch.get_num_threads()` threads, in the pool of OpenMP threads that torch uses too. A forked child
has one thread, because the pool does not survive a fork.
"""

import ctypes
import logging
import os
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from sugar_search.activation.kernels import compiler
from sugar_search.activation.kernels.portable import in_layout, layout, members
from sugar_search.activation.table.layout import WORDS

__all__ = ["PATHS", "backward", "decode", "empty", "encode", "load", "relu", "takes"]

log = logging.getLogger(__name__)

PATHS = ("baseline", "avx2", "avx512")
_TYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
_FOLDER = Path(__file__).parent
_SERIAL = 32768  # elements below which a second thread costs more than it saves
_STREAM = 1 << 23  # bytes of a result from which it is written past the caches
# Bytes from which the C library's allocator always takes new pages from the system.
NEW_PAGES = 1 << 25
_ONE = (WORDS,)
_state = {"forked": False}
if hasattr(os, "register_at_fork"):
    # At import: torch's own operators may have started the threads before the library is loaded.
    os.register_at_fork(after_in_child=lambda: _state.update(forked=True))


@cache
def load() -> ctypes.CDLL | None:
    """The library, or None where there is none; why is logged once."""
    if os.environ.get("SUGAR_SEARCH_NATIVE") == "0":
        return None
    source = compiler.source_hash(_FOLDER)
    return _open(_FOLDER / compiler.LIBRARY, source) or _cached(source)


def _open(path: Path, source: str) -> ctypes.CDLL | None:
    """The library in the file `path` if it was built from this source."""
    if not path.is_file():
        return None
    try:
        library = ctypes.CDLL(str(path))
        library.sugar_search_hash.restype = ctypes.c_char_p
        found = library.sugar_search_hash().decode()
    except (OSError, AttributeError) as error:
        log.warning("the compiled kernels in %s cannot be loaded: %s", path, error)
        return None
    if found != source:
        log.info("the compiled kernels in %s belong to another version and are not used", path)
        return None
    pointer, whole, long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
    start = [whole, whole, whole, whole]
    library.sugar_search_backward.argtypes = [*start, pointer, pointer, pointer, pointer, long, long]
    library.sugar_search_encode.argtypes = [*start, pointer, pointer, pointer, pointer, long, long, long, long, whole]
    library.sugar_search_decode.argtypes = [*start, pointer, pointer, pointer, pointer, long, long, whole]
    library.sugar_search_advise.argtypes = [pointer, long]
    library.sugar_search_advise.restype = None
    return library


def _cached(source: str) -> ctypes.CDLL | None:
    """The library in the user's cache folder, built if need be."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = root / "sugar-search" / f"{platform.machine()}-{source}{Path(compiler.LIBRARY).suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=180):
            failure = None if path.is_file() else compiler.build(_FOLDER, path)
    except (OSError, RuntimeError, Timeout) as error:
        failure = str(error)
    if failure:
        log.warning("surrogates run on plain torch operators, several times slower: %s", failure)
        return None
    return _open(path, source)


def takes(x: Tensor, grad: Tensor | None = None) -> bool:
    """Whether the library has kernels for these tensors."""
    return x.is_cpu and x.dtype in _TYPES and (grad is None or (grad.is_cpu and grad.dtype == x.dtype))


def backward(grad: Tensor, x: Tensor, words: Tensor, path: int | None = None) -> Tensor:
    """`portable.backward`; `path` is an index of PATHS, None for the best that the processor has."""
    if grad.shape != x.shape:
        raise RuntimeError(f"a gradient of shape {tuple(grad.shape)} does not fit an input of {tuple(x.shape)}")
    if (rows := _arranged(x, words)) and grad.is_contiguous():
        out = _empty_like(x)
    else:
        rows, x, order, words = _arrange(x, x.stride(), words)
        grad = in_layout(grad, order)
        out = empty(x.shape, order, x.dtype)
    _call("backward", path, out, rows, grad.data_ptr(), x.data_ptr(), words.data_ptr(), out.data_ptr())
    return out


def encode(
    x: Tensor, words: Tensor, seed: Tensor, bits: int, path: int | None = None, first: int = 0
) -> tuple[Tensor, Tensor]:
    """`portable.encode`; `first` is the index of the first element, a multiple of 32."""
    if rows := _arranged(x, words):
        y = _empty_like(x)
    else:
        rows, x, order, words = _arrange(x, x.stride(), words)
        y = empty(x.shape, order, x.dtype)
    length = (x.numel() // rows * bits + 7) // 8
    codes = torch.empty((length,) if words.dim() == 1 else (rows, length), dtype=torch.uint8, device="cpu")
    pointers = x.data_ptr(), words.data_ptr(), y.data_ptr(), codes.data_ptr()
    _call("encode", path, y, rows, *pointers, last=(int(seed), first, bits))
    return y, codes


def decode(
    grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: Sequence[int] | None = None, path: int | None = None
) -> Tensor:
    """`portable.decode`."""
    if (rows := _arranged(grad, words)) and (stride is None or tuple(stride) == grad.stride()):
        out = _empty_like(grad)
    else:
        rows, grad, order, words = _arrange(grad, grad.stride() if stride is None else tuple(stride), words)
        out = empty(grad.shape, order, grad.dtype)
    codes = codes.contiguous()
    if codes.numel() != (grad.numel() // rows * bits + 7) // 8 * rows:
        raise RuntimeError(f"{codes.numel()} bytes of codes do not fit a gradient of shape {tuple(grad.shape)}")
    pointers = grad.data_ptr(), codes.data_ptr(), words.data_ptr(), out.data_ptr()
    _call("decode", path, out, rows, *pointers, last=(bits,))
    return out


def relu(x: Tensor) -> Tensor:
    """`torch.relu` into memory that `empty` gives, which for large tensors takes half the time."""
    if x.numel() * x.element_size() < NEW_PAGES or layout(x.shape, x.stride()) != x.stride():
        return torch.ops.aten.relu.default(x)
    # This is what relu calls itself; its own variant with `out` makes a copy.
    return torch.ops.aten.clamp_min.out(x, 0, out=empty(x.shape, x.stride(), x.dtype))


def empty(shape: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor, in large pages where it is large: a page fault costs more than filling 4 KiB."""
    out = torch.empty_strided(shape, stride, dtype=dtype, device="cpu")
    _advise(out)
    return out


def _advise(out: Tensor) -> None:
    size = out.numel() * out.element_size()
    if size >= NEW_PAGES:
        library: Any = load()
        library.sugar_search_advise(out.data_ptr(), size)


def _arranged(x: Tensor, words: Tensor) -> int:
    """The number of tables where there is nothing to arrange, as in most calls, else 0.

    Small tensors feel every microsecond.
    """
    if not (words.dtype == torch.int32 and words.is_contiguous() and x.is_contiguous() and x.numel()):
        return 0
    if words.shape == _ONE:
        return 1
    return len(words) if x.dim() and words.shape == (x.shape[0], WORDS) else 0


def _empty_like(x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    _advise(out)
    return out


def _arrange(x: Tensor, stride: Sequence[int], words: Tensor) -> tuple[int, Tensor, tuple[int, ...], Tensor]:
    """The number of tables, `x` in the layout of the kernel, its strides, and the tables without gaps."""
    rows = members(words, x.shape)
    order = layout(x.shape, stride, rows)
    return rows or 1, in_layout(x, order), order, words.contiguous()


def _call(name: str, path: int | None, out: Tensor, rows: int, *pointers: int, last: tuple[int, ...] = ()) -> None:
    """Runs a kernel that writes `out` on the threads that torch would use."""
    kernels, best = _kernels()
    n = out.numel()
    if n == 0:
        return
    threads = 1 if n < _SERIAL or _state["forked"] else torch.get_num_threads()
    size = out.element_size()
    # Results past the caches need whole aligned vectors.
    stream = n * size >= _STREAM and out.data_ptr() % 64 == 0 and (rows == 1 or n // rows * size % 64 == 0)
    path = best if path is None else path
    if kernels[name](path, _TYPES[out.dtype], threads, stream, *pointers, rows, n // rows, *last):
        raise RuntimeError("these words are no table, or one of another version; make it with SugarReLU")


@cache
def _kernels() -> tuple[dict[str, Any], int]:
    """The library's functions by name, and the index of the best path."""
    library: Any = load()
    names = ("backward", "encode", "decode")
    return {name: getattr(library, f"sugar_search_{name}") for name in names}, library.sugar_search_path()
