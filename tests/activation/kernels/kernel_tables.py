"""Tables, inputs and layouts that the tests of the kernels share."""

import functools

import numpy as np
import torch

from sugar_search.activation.table.build import build_table
from sugar_search.symbolic.surrogate import surrogate

TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Smooth, a jump at 0, jumps at -3 and 3 with their values, several jumps in one cell, a slow tail.
FORMULAS = (
    "bsilu",
    "where(x > 0, 1, tanh(x) + 1)",
    "where(x < -3, 0, where(x < 3, (2*x + 3)/6, 1))",
    "where(x > 0.3, where(x < 0.31, 2, 0.5), -1)",
    "1/(1 + x**2)",
)


@functools.cache
def words(formula: str = "bsilu", core: bool = False) -> torch.Tensor:
    table = build_table(surrogate(formula).tape, core=core)
    assert table.error < 1e-6
    return torch.from_numpy(np.array(table.words))


def several(k: int) -> torch.Tensor:
    return torch.stack([words(FORMULAS[i % len(FORMULAS)]) for i in range(k)])


def numbers(dtype: torch.dtype, shape: tuple[int, ...] = (3, 6, 7, 9)) -> torch.Tensor:
    """Normal numbers of many sizes, and the special ones."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator) * 3
    flat = x.view(-1)
    flat[::5] *= 10.0 ** torch.randint(-12, 12, flat[::5].shape, generator=generator)
    special = [0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e-40, -1e-40, 3.0, -3.0, 0.3, 0.31, 3e38, -3e38]
    flat[: len(special)] = torch.tensor(special)
    return x.to(dtype)


def layouts(x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Views and copies of a four-dimensional tensor, as networks make them."""
    return {
        "contiguous": x,
        "channels_last": x.to(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3),
        "members inside": x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
        "strided": x[:, ::2],
        "huge stride": x.new_zeros(3, 1 << 20).as_strided((3, 2), (1 << 20, 5)).copy_(x[:, :2, 0, 0]),
        "expanded": x[:, :1].expand(3, 4, 7, 9),
        "offset": x[..., 1:],
        "flat offset": x.reshape(-1)[1:1000],
        "empty": x[:, :0],
        "one": x[:1, :1, :1, :1],
        "scalar": x[0, 1, 2, 3],
    }


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal bit for bit, strides included, but for which NaN it is."""
    strides = [[step for step, size in zip(t.stride(), t.shape) if size > 1] for t in (a, b)]
    if a.dtype != b.dtype or a.shape != b.shape or strides[0] != strides[1]:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    nan = a.isnan()
    a, b = (t.nan_to_num(0, 7, -7) if t.numel() else t for t in (a, b))
    return (
        torch.equal(nan, b.isnan() | nan) and torch.equal(a, b) and torch.equal(a.signbit() & ~nan, b.signbit() & ~nan)
    )
