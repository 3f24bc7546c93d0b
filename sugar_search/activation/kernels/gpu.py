"""The kernels in Triton, for CUDA: one compiled program per floating type, whatever the surrogate.

They compute what `portable` describes. Each program takes `BLOCK` elements in a row of memory. Elements are read and
written once, past the L1 cache, so that it keeps the table: its 64 cells, and pieces that are read as two numbers of 64
bits, not four of 32, as scattered reads cost by their number. Breaks, usually none, are a loop with the same numbers
for all elements.

The launches lie inside the operators of `operators`, which torch.compile keeps as calls; `torch.library.triton_op`
would show it the kernels, but defines an operator for all devices, and this one has other kernels on a CPU.
"""

# mypy: disable-error-code="import-untyped, import-not-found, untyped-decorator"
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sugar_search.activation.kernels.portable import in_layout, layout, members
from sugar_search.activation.table import layout as table

__all__ = ["backward", "decode", "encode"]

_BLOCK = 1024  # elements of a program of 128 threads: 8 to each, 16 bytes of bfloat16
_SMALL_BLOCK = 256

_WORDS = tl.constexpr(table.WORDS)
_NUMBER_OF_BREAKS = tl.constexpr(table.NUMBER_OF_BREAKS)
_LOW = tl.constexpr(table.LOW)
_HIGH = tl.constexpr(table.HIGH)
_CELLS = tl.constexpr(table.CELLS)
_OCTAVES = tl.constexpr(table.OCTAVES)
_END = tl.constexpr(2.0**table.OCTAVES_END)
_SMALL = tl.constexpr(2.0 ** (table.FIRST_OCTAVE - 1))  # the last power of 2 in octave 0
_BEFORE = tl.constexpr(126 + table.FIRST_OCTAVE)  # its biased exponent
_LAST = tl.constexpr(127 + table.OCTAVES_END)  # that of 2**OCTAVES_END
_BREAKS = tl.constexpr(table.BREAKS)
_BREAK_WORDS = tl.constexpr(table.BREAK_WORDS)
_BELOW = tl.constexpr(table.BELOW)
_ABOVE = tl.constexpr(table.ABOVE)
_CELL = tl.constexpr(table.CELL)
_RIGHT = tl.constexpr(table.RIGHT)
_MIDDLE = tl.constexpr(table.MIDDLE)
_PIECES = tl.constexpr(table.PIECES)


@triton.jit
def _float(word: tl.tensor) -> tl.tensor:
    return word.to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def _derivative(x: tl.tensor, words: tl.tensor) -> tl.tensor:
    """g at x, in the steps of `table.layout`; `words` points at the member's table."""
    x = tl.clamp(x.to(tl.float32), -_END, _END, propagate_nan=tl.PropagateNan.ALL)
    bits = x.to(tl.int32, bitcast=True)
    exponent = tl.maximum(tl.abs(x), _SMALL).to(tl.int32, bitcast=True) >> 23
    # NaN, whose result is NaN with any piece, has an exponent beyond the last.
    index = tl.minimum(exponent, _LAST) + (_CELLS - _BEFORE) + (bits >> 26 & _OCTAVES)
    cell = tl.load(words + index, eviction_policy="evict_last")
    shift = cell & 31
    piece = (cell >> 5) + ((bits & 0x7FFFFF) >> shift)
    count = tl.load(words + _NUMBER_OF_BREAKS)
    if count > 0:
        order = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
        for i in range(count):
            one = words + _BREAKS + i * _BREAK_WORDS
            above = tl.load(one + _ABOVE)
            middle = tl.load(one + _MIDDLE)
            piece = tl.where((piece == tl.load(one + _CELL)) & (order >= above), tl.load(one + _RIGHT), piece)
            inside = (order > tl.load(one + _BELOW)) & (order < above) & (middle >= 0)
            piece = tl.where(inside, middle, piece)
    pairs = (words + _PIECES).to(tl.pointer_type(tl.int64)) + piece * 2
    first = tl.load(pairs, eviction_policy="evict_last")
    second = tl.load(pairs + 1, eviction_policy="evict_last")
    t = x - _float(bits & (-1 << shift))
    return _float(first) + t * (_float(first >> 32) + t * (_float(second) + t * _float(second >> 32)))


@triton.jit
def _m(h: tl.tensor) -> tl.tensor:
    h = (h ^ (h >> 16)) * 0x7FEB352D
    return h ^ (h >> 15)


@triton.jit
def _f(h: tl.tensor) -> tl.tensor:
    h = h * 0x846CA68B
    return h ^ (h >> 16)


@triton.jit
def _random(start: tl.tensor, lanes: tl.tensor, seed: tl.tensor, FAR: tl.constexpr) -> tl.tensor:
    """`portable.random_bits` of elements start + lanes, uint32; FAR where an index may exceed 32 bits."""
    number = tl.load(seed)
    key1 = _f(_m(number.to(tl.uint32))) ^ (number >> 32).to(tl.uint32)
    key2 = _f(_m(key1 + 0x9E3779B9))
    if FAR:
        index = start + lanes
        place = ((index >> 5) << 4) + (index & 15)
        h = place.to(tl.uint32) ^ key1 ^ _f(_m((place >> 32).to(tl.uint32)))
        upper = (index & 16) > 0
    else:
        near = start.to(tl.uint32) + lanes.to(tl.uint32)
        h = (((near >> 5) << 4) + (near & 15)) ^ key1
        upper = (near & 16) > 0
    h = _f(_m(h) + key2)
    return tl.where(upper, h >> 8, ((h & 0xFFFF) << 8) | 0x80)


@triton.jit
def _place(n: tl.tensor, BLOCK: tl.constexpr, MEMBERS: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """Of this program: its member, and its first element among the member's n; both in 64 bits."""
    program = tl.program_id(0).to(tl.int64)
    if MEMBERS:
        blocks = tl.cdiv(n, BLOCK)
        return program // blocks, program % blocks * BLOCK
    return program * 0, program * BLOCK


@triton.jit
def _backward(
    words: tl.tensor,
    grad: tl.tensor,
    x: tl.tensor,
    out: tl.tensor,
    n: tl.tensor,
    BLOCK: tl.constexpr,
    MEMBERS: tl.constexpr,
) -> None:
    member, start = _place(n, BLOCK, MEMBERS)
    lanes = tl.arange(0, BLOCK)
    mask = start + lanes < n
    if MEMBERS:
        words += member * _WORDS
        start += member * n
    values = tl.load(x + start + lanes, mask, 0.0, cache_modifier=".cg")
    gradients = tl.load(grad + start + lanes, mask, 0.0, cache_modifier=".cg")
    factor = _derivative(values, words)
    if gradients.dtype == tl.float64:
        factor = factor.to(tl.float64)
    else:
        gradients = gradients.to(tl.float32)
    tl.store(out + start + lanes, (gradients * factor).to(out.dtype.element_ty), mask)


@triton.jit
def _encode(
    words: tl.tensor,
    x: tl.tensor,
    seed: tl.tensor,
    y: tl.tensor,
    codes: tl.tensor,
    n: tl.tensor,
    length: tl.tensor,
    BITS: tl.constexpr,
    FAR: tl.constexpr,
    BLOCK: tl.constexpr,
    MEMBERS: tl.constexpr,
) -> None:
    member, first = _place(n, BLOCK, MEMBERS)
    lanes = tl.arange(0, BLOCK)
    mask = first + lanes < n
    start = first
    if MEMBERS:
        words += member * _WORDS
        start += member * n
        codes += member * length
    values = tl.load(x + start + lanes, mask, 0.0, cache_modifier=".cg")
    # As torch does: -0 and NaN stay.
    tl.store(y + start + lanes, tl.where(values < 0, 0.0, values), mask)
    # In fixed point, with 24 bits after the point.
    end: tl.constexpr = (2**BITS - 1) * 2**24
    low, high = _float(tl.load(words + _LOW)), _float(tl.load(words + _HIGH))
    scale = tl.where(high > low, (2**BITS - 1) / (high - low) * 2**24, 0.0)
    scaled = (_derivative(values, words) - low) * scale
    scaled = tl.minimum(tl.where(scaled > 0, scaled, 0.0), end)
    index = first
    if MEMBERS:
        index += member * (tl.cdiv(n, 32) * 32)
    code = tl.where(mask, (scaled.to(tl.uint32) + _random(index, lanes, seed, FAR)) >> 24, 0)
    if BITS == 4:
        even, odd = tl.split(code.reshape(BLOCK // 2, 2))
        half = tl.arange(0, BLOCK // 2)
        tl.store(codes + first // 2 + half, (even | (odd << 4)).to(tl.uint8), first // 2 + half < length)
    else:
        tl.store(codes + first + lanes, code.to(tl.uint8), mask)


@triton.jit
def _decode(
    words: tl.tensor,
    grad: tl.tensor,
    codes: tl.tensor,
    out: tl.tensor,
    n: tl.tensor,
    length: tl.tensor,
    BITS: tl.constexpr,
    BLOCK: tl.constexpr,
    MEMBERS: tl.constexpr,
) -> None:
    member, first = _place(n, BLOCK, MEMBERS)
    lanes = tl.arange(0, BLOCK)
    mask = first + lanes < n
    start = first
    if MEMBERS:
        words += member * _WORDS
        start += member * n
        codes += member * length
    if BITS == 4:
        half = tl.arange(0, BLOCK // 2)
        pair = tl.load(codes + first // 2 + half, first // 2 + half < length, 0, cache_modifier=".cg")
        code = tl.join(pair & 15, pair >> 4).reshape(BLOCK)
    else:
        code = tl.load(codes + first + lanes, mask, 0, cache_modifier=".cg")
    low, high = _float(tl.load(words + _LOW)), _float(tl.load(words + _HIGH))
    factor = low + code.to(tl.float32) * ((high - low) / (2**BITS - 1))
    gradients = tl.load(grad + start + lanes, mask, 0.0, cache_modifier=".cg")
    if gradients.dtype == tl.float64:
        factor = factor.to(tl.float64)
    else:
        gradients = gradients.to(tl.float32)
    tl.store(out + start + lanes, (gradients * factor).to(out.dtype.element_ty), mask)


def _aligned(words: Tensor) -> Tensor:
    """The tables in one piece of memory, on a multiple of 8 bytes."""
    words = words.contiguous()
    return words.clone() if words.data_ptr() % 8 else words


def _launch(kernel: Any, out: Tensor, words: Tensor, *args: Any, **options: Any) -> None:
    """Runs a kernel over the elements of `out`, on its device, if there are any."""
    if not out.numel():
        return
    words = _aligned(words)
    rows = len(words) if words.dim() > 1 else 1
    n = out.numel() // rows
    block = _BLOCK if n > _SMALL_BLOCK else _SMALL_BLOCK
    with torch.cuda.device_of(out):
        kernel[(rows * triton.cdiv(n, block),)](words, *args, n, **options, BLOCK=block, MEMBERS=words.dim() > 1)


def backward(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
    """As `portable.backward`."""
    order = layout(x.shape, x.stride(), members(words, x.shape))
    out = torch.empty_strided(x.shape, order, dtype=grad.dtype, device=grad.device)
    _launch(_backward, out, words, in_layout(grad, order), in_layout(x, order), out)
    return out


def encode(x: Tensor, words: Tensor, seed: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """As `portable.encode`."""
    rows = members(words, x.shape)
    order = layout(x.shape, x.stride(), rows)
    y = torch.empty_strided(x.shape, order, dtype=x.dtype, device=x.device)
    length = (x.numel() // (rows or 1) * bits + 7) // 8
    codes = torch.empty((length,) if rows is None else (rows, length), dtype=torch.uint8, device=x.device)
    arguments = (in_layout(x, order), seed, y, codes)
    _launch(_encode, y, words, *arguments, length=length, BITS=bits, FAR=y.numel() + 32 * (rows or 1) > 2**32)
    return y, codes


def decode(grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: Sequence[int] | None = None) -> Tensor:
    """As `portable.decode`."""
    order = layout(grad.shape, grad.stride() if stride is None else stride, members(words, grad.shape))
    out = torch.empty_strided(grad.shape, order, dtype=grad.dtype, device=grad.device)
    arguments = (in_layout(grad, order), codes.contiguous(), out)
    _launch(_decode, out, words, *arguments, length=codes.shape[-1], BITS=bits)
    return out
