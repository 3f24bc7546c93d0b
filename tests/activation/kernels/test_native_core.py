"""The core of a table, which the kernel for AVX-512 holds in registers: within the error told, alike at every place."""

import ctypes

import numpy as np
import pytest
import torch
from kernel_tables import FORMULAS, TYPES, numbers, same, words

from sugar_search import catalog
from sugar_search.activation.kernels import native, portable
from sugar_search.activation.table import layout
from sugar_search.activation.table.build import build_table
from sugar_search.activation.table.core import evaluate_core
from sugar_search.activation.table.layout import CORE_POINTS, CORE_RIGHT, CORE_TERMS, HIGH, LOW, SCALE
from sugar_search.symbolic.surrogate import surrogate

needed = pytest.mark.skipif(
    native.load() is None or native.load().sugar_search_path() < 2, reason="needs a C compiler and AVX-512"
)
HELD = [name for name in catalog.names("surrogates") if name not in ("atan", "fast_sigmoid")]
JUMPS = (  # the core's cells hold left ends, right ends, and the value of 0 or -3 is in none
    "where(x < -3, 0, where(x < 3, (2*x + 3)/6, 1))",
    "where(x <= -3, 0, where(x <= 3, (2*x + 3)/6, 1))",
    "where(x <= -3, 0, where(x < 3, (2*x + 3)/6, 1))",
    "sign(x)*exp(-abs(x))",
)
NAMES = (
    "VERSION NUMBER_OF_BREAKS LOW HIGH CELLS BREAKS PIECES WORDS BREAK_WORDS BELOW ABOVE CELL RIGHT MIDDLE "
    "FIRST_OCTAVE OCTAVES_END OCTAVES MAX_BREAKS CORE_TERMS CORE_CELL CORE_RIGHT CORE_POINTS CORE_POINT MAX_POINTS "
    "CORE CORE_CELLS MAX_TERMS"
).split()


def points():
    """Every bfloat16 and float16 number, and float32 ones of many sizes."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    x = torch.cat(
        [every.view(torch.bfloat16).float(), every.view(torch.float16).float(), numbers(torch.float32).flatten()]
    )
    near = torch.arange(-17, 18) / 2.0
    beside = [torch.nextafter(near, torch.full_like(near, towards)) for towards in (-99.0, 99.0)]
    return torch.cat([x, near, *beside, torch.tensor([1e-40, -1e-40, 0.0, -0.0])])


@pytest.mark.skipif(native.load() is None, reason="needs a C compiler")
def test_the_source_in_c_has_the_numbers_of_the_layout():
    found = (ctypes.c_int32 * len(NAMES)).in_dll(native.load(), "sugar_search_layout")
    assert list(found) == [getattr(layout, name) for name in NAMES]


@needed
@pytest.mark.parametrize("formula", [*HELD, *JUMPS])
def test_it_is_read_as_numpy_reads_it_and_elsewhere_the_octaves_are(formula):
    table = build_table(surrogate(formula).tape)
    assert table.words[CORE_TERMS] and table.error <= 1e-6
    x = points()
    got = native.backward(torch.ones_like(x), x, torch.from_numpy(table.words.copy())).numpy()
    octaves = portable.derivative(x, torch.from_numpy(table.words.copy())).numpy()
    core, held = evaluate_core(table.words, x.numpy())
    assert held.sum() > 10_000 and np.isnan(got).sum() == np.isnan(octaves).sum() == x.isnan().sum()
    assert np.array_equal(got[~held], octaves[~held], equal_nan=True)
    scale = table.words.view(np.float32)[SCALE]
    np.testing.assert_allclose(got[held], core[held], rtol=0, atol=1.3e-7 * scale)
    assert np.abs(got - octaves)[~np.isnan(got)].max() <= 2e-6 * scale
    low, high = table.words.view(np.float32)[[LOW, HIGH]]
    assert low <= np.nanmin(got) and np.nanmax(got) <= high


def test_ends_are_held_where_most_jumps_are_continuous():
    tables = [build_table(surrogate(formula).tape).words for formula in JUMPS]
    assert [(int(w[CORE_RIGHT]), int(w[CORE_POINTS])) for w in tables[:2]] == [(0, 0), (1, 0)]
    assert [int(w[CORE_POINTS]) for w in tables[2:]] == [1, 1]


@needed
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_value_is_the_same_at_every_place_and_beside_any_other(dtype):
    generator = torch.Generator().manual_seed(4)
    x = (torch.randn(1500, generator=generator) * torch.tensor([1.0, 6.0, 40.0]).repeat_interleave(500)).to(dtype)
    order = torch.randperm(1500, generator=generator)
    for formula in FORMULAS:
        table = words(formula, core=True)
        g = native.backward(torch.ones_like(x), x, table)
        assert same(native.backward(torch.ones_like(x), x[order], table), g[order])
        alone = torch.cat([native.backward(torch.ones_like(v), v, table) for v in x.split(1)[::20]])
        assert same(alone, g[::20].contiguous())
    both = torch.stack([words("bsilu", core=True), words("1/(1 + x**2)", core=True)])
    many = torch.stack([x, x])
    got = native.backward(torch.ones_like(many), many, both)
    for row, table in zip(got, both, strict=True):
        assert same(row, native.backward(torch.ones_like(x), x, table))


@needed
@pytest.mark.parametrize("spread", [0.5, 1.5, 4.0, 20.0])
def test_spells_of_near_and_of_far_elements_change_nothing(spread):
    x = torch.randn(9600, generator=torch.Generator().manual_seed(7)) * spread
    x, order = torch.cat([x, x.abs()]).sort()
    back, seed = order.argsort(), torch.tensor(8)
    for formula in ("bsilu", "1/(1 + x**2)", JUMPS[0]):
        table = words(formula, core=True)
        g = native.backward(torch.ones_like(x), x, table)
        assert same(native.backward(torch.ones_like(x), x[back], table), g[back])
        for bits in (4, 8):
            codes = native.encode(x, table, seed, bits)[1]
            parts = [native.encode(v, table, seed, bits, first=64 * i)[1] for i, v in enumerate(x.split(64))]
            assert torch.equal(torch.cat(parts), codes)


@needed
def test_exact_constants_stay_exact():
    x = points()[~points().isnan()]
    table = torch.from_numpy(build_table(surrogate("where(x > 0, 1, 0)").tape).words.copy())
    assert table[CORE_TERMS] and torch.equal(native.backward(torch.ones_like(x), x, table), (x > 0).float())


@needed
@pytest.mark.parametrize("bits", [4, 8])
def test_codes_are_those_of_the_octaves_but_where_a_rounding_decides(bits):
    x = torch.randn(100_003, generator=torch.Generator().manual_seed(6)) * 3
    for formula in FORMULAS:
        table = words(formula, core=True)
        y, codes = native.encode(x, table, torch.tensor(5), bits)
        expected, others = portable.encode(x, table, torch.tensor(5), bits)
        assert same(y, expected)
        assert (codes != others).float().mean() < 1e-3
        assert (native.decode(x, codes, table, bits) - portable.decode(x, others, table, bits)).abs().median() == 0


@needed
def test_where_denormals_are_flushed_the_octaves_are_read():
    table = words("where(x > 0, 1, tanh(x) + 1)", core=True)
    x = torch.cat([torch.tensor([1e-40, -1e-40, 0.0, -0.0] * 9), torch.linspace(-3, 3, 99)])
    try:
        torch.set_flush_denormal(True)
        got = native.backward(torch.ones_like(x), x, table)
    finally:
        torch.set_flush_denormal(False)
    without = words("where(x > 0, 1, tanh(x) + 1)")
    assert same(got, portable.backward(torch.ones_like(x), x, without))
