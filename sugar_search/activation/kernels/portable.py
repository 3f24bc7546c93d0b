"""The kernels in plain torch: any device and floating type; the fallback where there is no compiled kernel.

All kernels, compiled or not, agree on the following.

- `words` is one table, int32 (WORDS,), or one for each member of a population, (K, WORDS), with x of shape (K, ...).
- A kernel works on elements in the order of memory: the order of x's own memory where x is dense without overlaps (and,
  with several tables, lies there member by member), else as if x were contiguous. What it returns is laid out so.
- Codes are uint8: ceil(n * bits / 8) of them, where n counts elements in that order; with several tables
  (K, ceil(n / K * bits / 8)), each member starting a new byte. Of two codes of 4 bits the earlier is in the low half.
- The code of element i is floor(s + u) with 24 binary places, where s = (g - low) / (high - low) * (2**bits - 1), cut
  off after those places, and u = `random_bits(i, seed)` / 2**24; i counts on from member to member, each beginning at
  a multiple of 32.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sugar_search.activation.kernels.random_bits import random_bits
from sugar_search.activation.table.layout import (
    ABOVE,
    BELOW,
    BREAK_WORDS,
    BREAKS,
    CELL,
    CELLS,
    FIRST_OCTAVE,
    HIGH,
    LOW,
    MAX_BREAKS,
    MAX_PIECES,
    MIDDLE,
    NUMBER_OF_BREAKS,
    OCTAVES,
    OCTAVES_END,
    PIECES,
    RIGHT,
    WORDS,
)
from sugar_search.errors import InputError

__all__ = ["backward", "decode", "derivative", "encode", "in_layout", "layout", "members", "memory"]

# Intermediate results of this many elements stay in the caches of a CPU, which halves the time.
_BLOCK = 1 << 16
_END = (127 + OCTAVES_END) << 23  # the word of 2**OCTAVES_END
_ONE = 1 << 24  # 1 in fixed point


def layout(shape: Sequence[int], stride: Sequence[int], rows: int | None = None) -> tuple[int, ...]:
    """The strides that a kernel works in: `stride` where it is dense, else those of a contiguous tensor.

    Args:
        shape: of the tensor.
        stride: its strides, in elements.
        rows: the number of tables where there are several; member after member must then lie in memory.
    """
    expected = 1
    largest = 0
    for step, dim in sorted((stride[d], d) for d in range(len(shape)) if shape[d] != 1):
        if step != expected:
            break
        expected *= shape[dim]
        largest = dim
    else:
        if rows is None or largest == 0 or shape[0] == 1:
            return tuple(stride)
    contiguous = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        contiguous[d] = contiguous[d + 1] * max(shape[d + 1], 1)
    return tuple(contiguous)


def members(words: Tensor, shape: Sequence[int]) -> int | None:
    """The number of tables where `words` holds one for each member, else None.

    Raises:
        InputError: `words` is not one table or one for each member of a tensor of this shape.
    """
    if words.dtype == torch.int32 and words.dim() in (1, 2) and words.shape[-1] == WORDS:
        if words.dim() == 1:
            return None
        if len(shape) > 0 and words.shape[0] == shape[0]:
            return int(words.shape[0])
    raise InputError(
        f"tables must be int32 of {WORDS} words, or one such row for each member of x",
        f"{words.dtype} {tuple(words.shape)} for x of shape {tuple(shape)}",
        "pass the words of a Table, stacked for several members",
    )


def in_layout(x: Tensor, stride: Sequence[int]) -> Tensor:
    """`x` where its strides are `stride` (but for dimensions of size 1), else a copy with these strides."""
    if all(a == b or size == 1 for a, b, size in zip(x.stride(), stride, x.shape)) or x.numel() == 0:
        return x
    return torch.empty_strided(x.shape, stride, dtype=x.dtype, device=x.device).copy_(x)


def memory(x: Tensor, rows: int = 1) -> Tensor:
    """The elements of a dense `x` in the order of memory, as a view (rows, n / rows)."""
    n = x.numel() // rows
    return x.as_strided((rows, n), (n, 1))


def derivative(x: Tensor, words: Tensor) -> Tensor:
    """g at every element of `x`.

    Args:
        x: any shape, floating point; (K, ...) with several tables.
        words: int32 (WORDS,) or (K, WORDS).

    Returns:
        float32, laid out like `x`.
    """
    out, x, tables = _start(x, words, torch.float32)
    for part, (values,) in _blocks(out, tables, x):
        part.copy_(_evaluate(values, tables))
    return out


def backward(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
    """`grad * g(x)`, multiplied in float32, or in float64 where `grad` is float64.

    Args:
        grad: shape of `x`, floating point.
        x: any shape, floating point; (K, ...) with several tables.
        words: int32 (WORDS,) or (K, WORDS).

    Returns:
        A tensor of the type of `grad`, laid out like `x`.
    """
    out, x, tables = _start(x, words, grad.dtype)
    wide = torch.promote_types(grad.dtype, torch.float32)
    for part, (gradients, values) in _blocks(out, tables, in_layout(grad, out.stride()), x):
        part.copy_(gradients.to(wide) * _evaluate(values, tables))
    return out


def encode(x: Tensor, words: Tensor, seed: Tensor, bits: int, first: int = 0) -> tuple[Tensor, Tensor]:
    """ReLU and, for the backward, g rounded at random to one of 2**bits even steps of the table's range.

    The expectation of the decoded value is g(x). NaN, which no code can stand for, gets code 0.

    Args:
        x: any shape, floating point; (K, ...) with several tables.
        words: int32 (WORDS,) or (K, WORDS).
        seed: int64, one element.
        bits: 8 or 4.
        first: the index of the first element, a multiple of 32.

    Returns:
        `relu(x)`, laid out like `x`, and the codes.
    """
    y, dense, tables = _start(x, words, x.dtype)
    torch.clamp_min(dense, 0, out=y)
    rows, n = len(tables), dense.numel() // len(tables)
    per_byte = 8 // bits
    codes = torch.empty((rows, -(-n // per_byte)), dtype=torch.uint8, device=x.device)
    levels = 2**bits - 1
    low, high = _range(tables)
    scale = (levels / (high - low) * _ONE).where(high > low, 0)
    row = torch.arange(rows, device=x.device).unsqueeze(1) * (-(-n // 32) * 32) + first
    position = 0
    size = n if x.device.type != "cpu" else max(_BLOCK // rows // 2 * 2, 2)
    flat = memory(dense, rows)
    while position < n:
        values = flat[:, position : position + size]
        scaled = (_evaluate(values, tables) - low) * scale
        scaled = scaled.where(scaled > 0, 0).clamp(max=levels * _ONE)
        index = row + torch.arange(position, position + values.shape[1], device=x.device)
        code = (scaled.to(torch.int64) + random_bits(index, seed) >> 24).to(torch.uint8)
        if bits == 4:
            if code.shape[1] % 2:
                code = torch.nn.functional.pad(code, (0, 1))
            code = code[:, ::2] | code[:, 1::2] << 4
        start = position // per_byte
        codes[:, start : start + code.shape[1]] = code
        position += size
    return y, codes.view(-1) if words.dim() == 1 else codes


def decode(grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: Sequence[int] | None = None) -> Tensor:
    """`grad` times the decoded derivative.

    Args:
        grad: floating point, shape of the tensor that was encoded.
        codes: as `encode` returned them.
        words: the table or tables that it was given.
        bits: as it was given.
        stride: strides of the y that `encode` returned; None where `grad` has the same layout.

    Returns:
        A tensor of the type of `grad`, laid out like y.
    """
    several = members(words, grad.shape)
    rows = several or 1
    order = layout(grad.shape, grad.stride() if stride is None else stride, several)
    out = torch.empty_strided(grad.shape, order, dtype=grad.dtype, device=grad.device)
    if not out.numel():
        return out
    codes = codes.view(rows, -1)
    if bits == 4:
        codes = torch.stack((codes & 15, codes >> 4), -1).flatten(1)[:, : grad.numel() // rows].contiguous()
    tables = words.view(rows, -1)
    low, high = _range(tables)
    values = low + torch.arange(2**bits, device=grad.device) * (high - low) / (2**bits - 1)
    row = torch.arange(rows, device=grad.device, dtype=torch.int32).unsqueeze(1)
    wide = torch.promote_types(grad.dtype, torch.float32)
    for part, (gradients, numbers) in _blocks(out, tables, in_layout(grad, order), codes):
        part.copy_(gradients.to(wide) * _rows(values, numbers.to(torch.int32), row))
    return out


def _range(tables: Tensor) -> tuple[Tensor, Tensor]:
    """The low and the high end of each table's range, float32 (rows, 1)."""
    low, high = tables[:, LOW : HIGH + 1].view(torch.float32).split(1, 1)
    return low, high


def _start(x: Tensor, words: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """An empty result in the layout of the kernel, `x` in it, and the tables as (rows, WORDS)."""
    rows = members(words, x.shape)
    order = layout(x.shape, x.stride(), rows)
    out = torch.empty_strided(x.shape, order, dtype=dtype, device=x.device)
    return out, in_layout(x, order), words.view(rows or 1, -1)


def _blocks(out: Tensor, tables: Tensor, *tensors: Tensor) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    """Pieces (rows, m) of the result and of the tensors, small on a CPU, whole elsewhere."""
    if not out.numel():
        return []
    rows = len(tables)
    flat = [memory(t, rows) for t in (out, *tensors)]
    size = flat[0].shape[1] if out.device.type != "cpu" else max(_BLOCK // rows, 1)
    return [(part, tuple(rest)) for part, *rest in zip(*(t.split(size, 1) for t in flat))]


def _evaluate(x: Tensor, tables: Tensor) -> Tensor:
    """g at x (rows, m) by tables (rows, WORDS), in the steps that `table.layout` lists; float32."""
    x = x.to(torch.float32)
    rows = len(tables)
    row = torch.arange(rows, device=x.device, dtype=torch.int32).unsqueeze(1)
    raw = x.contiguous().view(torch.int32)
    size = raw & 0x7FFFFFFF
    # Clamped as integers: where denormal floats are flushed, a comparison of floats would lose them.
    bits = (raw ^ size) | size.where(size > 0x7F800000, size.clamp(max=_END))
    octave = ((bits >> 23 & 255) - 126 - FIRST_OCTAVE).clamp(0, OCTAVES - 1) + (bits < 0) * OCTAVES
    cell = _rows(tables[:, CELLS : CELLS + 2 * OCTAVES], octave, row)
    shift = cell & 31
    piece = (cell >> 5) + ((bits & 0x7FFFFF) >> shift)
    ordered = bits ^ (bits >> 31 & 0x7FFFFFFF)
    count = tables[:, NUMBER_OF_BREAKS : NUMBER_OF_BREAKS + 1]
    # Reading the number back from an accelerator would stall it.
    for i in range(int(count.max()) if x.device.type == "cpu" else MAX_BREAKS):
        words = tables[:, BREAKS + i * BREAK_WORDS : BREAKS + (i + 1) * BREAK_WORDS]
        below, above, here, right, middle = (words[:, j : j + 1] for j in (BELOW, ABOVE, CELL, RIGHT, MIDDLE))
        used = count > i
        piece = right.where((piece == here) & (ordered >= above) & used, piece)
        piece = middle.where((ordered > below) & (ordered < above) & (middle >= 0) & used, piece)
    edge = (bits & (-1 << shift)).view(torch.float32)
    t = bits.view(torch.float32) - edge
    coefficients = tables[:, PIECES : PIECES + 4 * MAX_PIECES].reshape(rows, MAX_PIECES, 4).view(torch.float32)
    c0, c1, c2, c3 = _rows(coefficients, piece, row).unbind(-1)
    return c0 + t * (c1 + t * (c2 + t * c3))


def _rows(table: Tensor, index: Tensor, row: Tensor) -> Tensor:
    """`table[row, index]` for a table (rows, length, ...)."""
    flat = table.reshape(-1, *table.shape[2:])
    picked = flat.index_select(0, (index + row * table.shape[1]).flatten())
    return picked.view(*index.shape, *table.shape[2:])
