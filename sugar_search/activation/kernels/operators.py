"""The torch operators over the kernels: `sugar_search::backward`, `relu_encode`, `decode`, `relu`.

They have no Autograd kernel: a custom operator with a registered derivative raises under `torch.func`. The gradient is
given by the `autograd.Function` that calls them. What they compute is described in `portable`.
"""

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor

from sugar_search.activation.kernels import native, portable
from sugar_search.activation.kernels.portable import layout, members
from sugar_search.errors import InputError

__all__ = [
    "backward",
    "backward_at_once",
    "decode",
    "decode_at_once",
    "force",
    "native_available",
    "relu",
    "relu_encode",
    "relu_encode_at_once",
]

log = logging.getLogger(__name__)

_SCHEMAS = (
    "backward(Tensor grad, Tensor x, Tensor words) -> Tensor",
    "relu_encode(Tensor x, Tensor words, Tensor seed, int bits) -> (Tensor, Tensor)",
    "decode(Tensor grad, Tensor codes, Tensor words, int bits, SymInt[]? stride=None) -> Tensor",
    "relu(Tensor x) -> Tensor",
)
# What torch would look at on the way: an ordinary tensor on the CPU, neither batched nor of another kind.
with torch.inference_mode(False):
    _PLAIN = torch._C._dispatch_keys(torch.empty(0, device="cpu"))
_forced: Literal["native", "portable"] | None = None
_triton = True  # until it fails for want of a C compiler


def backward(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
    """`grad * g(x)`, see `portable.backward`."""
    return torch.ops.sugar_search.backward(grad, x, words)


def relu_encode(x: Tensor, words: Tensor, seed: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """`relu(x)` and the codes of g(x), see `portable.encode`."""
    return torch.ops.sugar_search.relu_encode(x, words, seed, bits)


def decode(grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: Sequence[int] | None = None) -> Tensor:
    """`grad` times the decoded derivative, see `portable.decode`; `stride` are the strides of relu_encode's y."""
    return torch.ops.sugar_search.decode(grad, codes, words, bits, stride)


def relu(x: Tensor) -> Tensor:
    """`torch.relu`, bit for bit; large results on a CPU are faster, because they lie in large pages."""
    if torch.compiler.is_compiling() or not x.is_cpu:
        return torch.ops.aten.relu.default(x)
    if x.numel() * x.element_size() < native.NEW_PAGES:
        # What relu itself calls, by the shorter way from Python.
        return torch.clamp_min(x, 0)
    return torch.ops.sugar_search.relu(x)


def backward_at_once(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
    """`backward` without the way through torch's dispatcher, which takes as long as the kernel on small tensors.

    For a backward pass that nothing batches, differentiates or traces.
    """
    return (_backward_cpu if _ordinary(x, grad, words) else backward)(grad, x, words)


def relu_encode_at_once(x: Tensor, words: Tensor, seed: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """`relu_encode` in the same way, for a forward pass."""
    return (_encode_cpu if _ordinary(x, x, words) else relu_encode)(x, words, seed, bits)


def decode_at_once(grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: Sequence[int]) -> Tensor:
    """`decode` in the same way."""
    return (_decode_cpu if _ordinary(grad, codes, words) else decode)(grad, codes, words, bits, stride)


def _ordinary(first: Tensor, second: Tensor, words: Tensor) -> bool:
    """Whether the dispatcher would go straight to the kernel for CPUs."""
    keys = torch._C._dispatch_keys
    return (
        keys(first) == _PLAIN
        and (second is first or keys(second) == _PLAIN)
        and words.is_cpu
        and not torch._C._len_torch_dispatch_stack()
    )


def native_available() -> bool:
    """Whether the compiled CPU kernels can be loaded; builds them first where they are missing and can be built."""
    return native.load() is not None


@contextlib.contextmanager
def force(kernels: Literal["native", "portable"] | None) -> Iterator[None]:
    """Within the block, all threads use these kernels on a CPU, and "portable" on every device; None chooses freely.

    Raises:
        InputError: native kernels are asked for and there are none.
    """
    global _forced
    if kernels == "native" and not native_available():
        raise InputError("native kernels must be built before they are used", kernels, "install a C compiler")
    before, _forced = _forced, kernels
    try:
        yield
    finally:
        _forced = before


@cache
def _gpu() -> ModuleType | None:
    """The Triton kernels; None, said once, where Triton is missing."""
    try:
        return importlib.import_module("sugar_search.activation.kernels.gpu")
    except ImportError as error:
        log.warning("surrogates run on plain torch operators on this GPU, slowly: %s", error)
        return None


def _on_gpu(name: str, *inputs: Any) -> Any:
    """The kernel of that name: Triton's, or plain torch where Triton is missing or finds no C compiler."""
    global _triton
    module = _gpu() if _triton and _forced != "portable" else None
    if module is not None:
        try:
            return getattr(module, name)(*inputs)
        except RuntimeError as error:
            if "Failed to find C compiler" not in str(error):
                raise
            _triton = False
            log.warning("surrogates run on plain torch operators on this GPU, slowly: %s", error)
    return getattr(portable, name)(*inputs)


def _backward_cpu(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
    if _forced != "portable" and native.takes(x, grad) and native.load() is not None:
        return native.backward(grad, x, words)
    return portable.backward(grad, x, words)


def _encode_cpu(x: Tensor, words: Tensor, seed: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    if _forced != "portable" and native.takes(x) and native.load() is not None:
        return native.encode(x, words, seed, bits)
    return portable.encode(x, words, seed, bits)


def _decode_cpu(grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: Sequence[int] | None = None) -> Tensor:
    if _forced != "portable" and native.takes(grad) and native.load() is not None:
        return native.decode(grad, codes, words, bits, stride)
    return portable.decode(grad, codes, words, bits, stride)


def _relu_cpu(x: Tensor) -> Tensor:
    if _forced != "portable" and native.load() is not None:
        return native.relu(x)
    return _relu(x)


def _relu(x: Tensor) -> Tensor:
    return torch.ops.aten.relu.default(x)


def _backward_cuda(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
    product: Tensor = _on_gpu("backward", grad, x, words)
    return product


def _encode_cuda(x: Tensor, words: Tensor, seed: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    coded: tuple[Tensor, Tensor] = _on_gpu("encode", x, words, seed, bits)
    return coded


def _decode_cuda(grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: Sequence[int] | None = None) -> Tensor:
    product: Tensor = _on_gpu("decode", grad, codes, words, bits, stride)
    return product


def _backward_fake(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
    return grad.new_empty_strided(x.shape, layout(x.shape, x.stride(), members(words, x.shape)))


def _encode_fake(x: Tensor, words: Tensor, seed: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    rows = members(words, x.shape)
    y = x.new_empty_strided(x.shape, layout(x.shape, x.stride(), rows))
    length = (x.numel() // (rows or 1) * bits + 7) // 8
    return y, x.new_empty((length,) if rows is None else (rows, length), dtype=torch.uint8)


def _decode_fake(grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: Sequence[int] | None = None) -> Tensor:
    order = layout(grad.shape, grad.stride() if stride is None else stride, members(words, grad.shape))
    return grad.new_empty_strided(grad.shape, order)


def _define() -> torch.library.Library | None:
    """The operators; None where an earlier import of this file, or another copy of it, has defined them."""
    if hasattr(torch.ops.sugar_search, "backward"):
        return None
    library = torch.library.Library("sugar_search", "FRAGMENT")
    # Strides are exact because codes lie in the order of x's memory.
    tags = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)
    for schema in _SCHEMAS:
        library.define(schema, tags=tags)
    kernels: dict[str, tuple[Callable[..., Any], ...]] = {
        "backward": (_backward_cpu, _backward_cuda, portable.backward, _backward_fake),
        "relu_encode": (_encode_cpu, _encode_cuda, portable.encode, _encode_fake),
        "decode": (_decode_cpu, _decode_cuda, portable.decode, _decode_fake),
        "relu": (_relu_cpu, _relu, _relu, _relu),
    }
    for name, (cpu, cuda, other, fake) in kernels.items():
        library.impl(name, cpu, "CPU")
        library.impl(name, cuda, "CUDA")
        library.impl(name, other, "CompositeExplicitAutograd")
        torch.library.register_fake(f"sugar_search::{name}", fake, lib=library)
    return library


# The definitions live as long as this object does.
_library = _define() or globals().get("_library")
