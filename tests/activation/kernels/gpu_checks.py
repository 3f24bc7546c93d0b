"""What the Triton kernels must give. `test_gpu` runs this file in a process of its own: interpreted on the CPU where
TRITON_INTERPRET=1 is set, else compiled on the GPU."""

import os

import pytest
import torch
import triton
import triton.language as tl

from sugar_search.activation.kernels import gpu, operators, portable
from sugar_search.activation.table.cache import table_of
from sugar_search.activation.table.layout import (
    ABOVE,
    BELOW,
    BREAK_WORDS,
    BREAKS,
    CELL,
    CELLS,
    CORE,
    FIRST_OCTAVE,
    HIGH,
    LOW,
    MIDDLE,
    NUMBER_OF_BREAKS,
    OCTAVES,
    OCTAVES_END,
    PIECES,
    RIGHT,
    WORDS,
)
from sugar_search.symbolic.surrogate import surrogate

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
compiled = pytest.mark.skipif(INTERPRETED, reason="needs a GPU")

TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# Float32 steps, in another order of operations; then one rounding to the type.
CLOSE = {
    torch.float32: {"rtol": 5e-7, "atol": 5e-7},
    torch.float64: {"rtol": 5e-7, "atol": 5e-7},
    torch.bfloat16: {"rtol": 2**-7, "atol": 1e-6},
    torch.float16: {"rtol": 2**-10, "atol": 1e-6},
}


def real(name, **parameters):
    return torch.from_numpy(table_of(surrogate(name, **parameters).tape).words.copy()).to(DEVICE)


def random_table(seed):
    """Any table that the layout allows: cells cut at random, 16 breaks, with and without a middle."""
    random = torch.Generator().manual_seed(seed)

    def draw(high, low=0):
        return int(torch.randint(low, high, (), generator=random))

    words = torch.zeros(WORDS, dtype=torch.int32)
    floats = words.view(torch.float32)
    floats[PIECES:CORE] = torch.rand(CORE - PIECES, generator=random) - 0.5
    floats[LOW], floats[HIGH] = -0.4, 0.6
    piece = 0
    for i in range(2 * OCTAVES):
        cut = 0 if i % OCTAVES in (0, OCTAVES - 1) else draw(4)
        words[CELLS + i] = piece << 5 | (31 if i % OCTAVES in (0, OCTAVES - 1) else 23 - cut)
        if i % OCTAVES == OCTAVES - 1:
            floats[PIECES + 4 * piece + 1 : PIECES + 4 * piece + 4] = 0
        piece += 2**cut
    at = torch.sort(torch.randn(16, generator=random) * 3).values
    words[NUMBER_OF_BREAKS] = 16
    bits = at.view(torch.int32)
    places = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF)
    for i, place in enumerate(places.tolist()):
        one = BREAKS + BREAK_WORDS * i
        words[one + BELOW], words[one + ABOVE] = place - draw(2, 1), place + draw(3)
        words[one + CELL] = int(pieces(words, at[i]))
        words[one + RIGHT] = piece + 2 * i
        words[one + MIDDLE] = piece + 2 * i + 1 if draw(2) else -1
    return words.to(DEVICE), at


def pieces(words, x):
    bits = int(x.view(torch.int32))
    octave = min(max((bits >> 23 & 255) - 126 - FIRST_OCTAVE, 0), 31) + 32 * (bits < 0)
    cell = int(words[CELLS + octave])
    return (cell >> 5) + ((bits & 0x7FFFFF) >> (cell & 31))


def points(n=3000, near=(), seed=0):
    """Numbers of every size and both signs, the special ones, and the neighbours of `near`, n in all."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=random) * 2.0 ** torch.randint(-12, 26, (n,), generator=random).float()
    x[: n // 2] = torch.randn(n // 2, generator=random) * 3
    special = [0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38]
    special += [sign * 2.0**power for sign in (1, -1) for power in (FIRST_OCTAVE, OCTAVES_END)]
    special = torch.tensor([*special, float("inf"), -float("inf"), float("nan")])
    near = torch.as_tensor(near, dtype=torch.float32)
    around = [near, *(torch.nextafter(near, torch.full_like(near, s * 9e9)) for s in (-1, 1))]
    special = torch.cat([special, *around])
    x[: len(special)] = special
    return x.to(DEVICE)


def held(x):
    """`x` without what the interpreter, unlike a GPU, does not hold: it reads denormal bfloat16 numbers as 0."""
    return x.where(x.abs() >= 2**-126, 0) if INTERPRETED and x.dtype == torch.bfloat16 else x


TABLES = {
    "bsilu": lambda: (real("bsilu"), []),
    "arctan": lambda: (real("arctan"), []),
    "hardswish": lambda: (real("hardswish"), [-3.0, 3.0]),
    "random": lambda: random_table(3),
}


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", TABLES)
def test_backward(name, dtype):
    words, near = TABLES[name]()
    x = points(near=near).to(dtype)
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
    got, wanted = gpu.backward(grad, x, words), portable.backward(grad, x, words)
    assert got.dtype == dtype
    torch.testing.assert_close(got, wanted, equal_nan=True, **CLOSE[dtype])
    assert wanted[x < 0].nan_to_num().abs().max() > 0.1


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "permuted": lambda x: x.permute(3, 0, 2, 1),
    "strided": lambda x: x[..., ::2],
    "expanded": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "offset": lambda x: x.flatten()[1:],
    "scalar": lambda x: x[0, 0, 0, 0],
    "one": lambda x: x.flatten()[:1],
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name):
    words = real("bsilu")
    x = LAYOUTS[name](points(2 * 3 * 11 * 13).view(2, 3, 11, 13))
    # A gradient laid out otherwise.
    for grad in (torch.rand_like(x), torch.rand(x.shape[::-1], device=DEVICE).permute(tuple(reversed(range(x.dim()))))):
        got, wanted = gpu.backward(grad, x, words), portable.backward(grad, x, words)
        assert got.stride() == wanted.stride()
        torch.testing.assert_close(got, wanted, equal_nan=True, **CLOSE[torch.float32])
    for bits in (4, 8):
        seed = torch.tensor([99], device=DEVICE)
        got, wanted = gpu.encode(x, words, seed, bits), portable.encode(x, words, seed, bits)
        same(got, wanted, bits)
        assert got[0].stride() == wanted[0].stride()
        grad = torch.rand(x.shape, device=DEVICE)
        back = [kernels.decode(grad, wanted[1], words, bits, wanted[0].stride()) for kernels in (gpu, portable)]
        assert back[0].stride() == back[1].stride()
        torch.testing.assert_close(*back, **CLOSE[torch.float32])


def same(got, wanted, bits):
    """y bit for bit; codes but for the roundings of g."""
    assert torch.equal(got[0].nan_to_num(7), wanted[0].nan_to_num(7)) and got[0].dtype == wanted[0].dtype
    assert got[1].shape == wanted[1].shape and got[1].dtype == torch.uint8
    halves = [c if bits == 8 else torch.stack((c & 15, c >> 4)) for c in (got[1], wanted[1])]
    difference = (halves[0].int() - halves[1].int()).abs()
    assert difference.numel() == 0 or (difference.max() <= 1 and (difference > 0).float().mean() < 2e-3)


@pytest.mark.parametrize("bits", (4, 8))
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", ("bsilu", "random"))
def test_codes(name, dtype, bits):
    words, near = TABLES[name]()
    x = held(points(3001, near).to(dtype))
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
    for seed in (0, -1, 123456789012345678):
        seed = torch.tensor([seed], device=DEVICE)
        got, wanted = gpu.encode(x, words, seed, bits), portable.encode(x, words, seed, bits)
        same(got, wanted, bits)
    back, wanted = (kernels.decode(grad, wanted[1], words, bits) for kernels in (gpu, portable))
    assert back.dtype == dtype
    torch.testing.assert_close(back, wanted, **CLOSE[dtype])


def test_a_constant_and_nan_have_codes():
    words = real("bsilu").clone()
    words[HIGH] = words[LOW]
    x = torch.tensor([1.0, float("nan"), -1.0], device=DEVICE)
    y, codes = gpu.encode(x, words, torch.tensor([5], device=DEVICE), 8)
    assert codes.tolist() == [0, 0, 0]
    assert torch.equal(y.isnan().cpu(), torch.tensor([False, True, False]))
    decoded = gpu.decode(torch.ones_like(x), codes, words, 8)
    assert torch.equal(decoded, words[LOW : LOW + 1].view(torch.float32).expand(3))


@pytest.mark.parametrize("bits", (4, 8))
def test_codes_are_unbiased(bits):
    words, draws = real("bsilu"), 10_000
    for at in (-2.5, -0.3, 0.2, 1.7):
        x = torch.full((draws,), at, device=DEVICE)
        _, codes = gpu.encode(x, words, torch.tensor([11], device=DEVICE), bits)
        decoded = gpu.decode(torch.ones_like(x), codes, words, bits).double()
        wanted = portable.derivative(x[:1], words).double()
        assert (decoded.mean() - wanted).abs() <= 4 * decoded.std() / draws**0.5 + 1e-7


@pytest.mark.parametrize("n", (1, 7, 300, 1025))
def test_members_read_their_own_tables(n):
    words = torch.stack([real("bsilu"), real("arctan"), random_table(4)[0]])
    x = torch.stack([points(max(n, 100), seed=i)[:n] for i in range(3)])
    grad = torch.rand_like(x)
    got = gpu.backward(grad, x, words)
    torch.testing.assert_close(got, portable.backward(grad, x, words), equal_nan=True, **CLOSE[torch.float32])
    alone = torch.stack([gpu.backward(grad[i], x[i], words[i]) for i in range(3)])
    torch.testing.assert_close(got, alone, rtol=0, atol=0, equal_nan=True)
    seed = torch.tensor([3], device=DEVICE)
    for bits in (4, 8):
        codes = gpu.encode(x, words, seed, bits), portable.encode(x, words, seed, bits)
        same(*codes, bits)
        back = [kernels.decode(grad, codes[1][1], words, bits) for kernels in (gpu, portable)]
        torch.testing.assert_close(*back, **CLOSE[torch.float32])


def test_a_table_that_lies_off_the_grid_of_8_bytes():
    words = real("bsilu")
    shifted = torch.cat([words[:1], words])[1:]
    x = points()
    assert torch.equal(gpu.backward(x, x, shifted).nan_to_num(), gpu.backward(x, x, words).nan_to_num())


@triton.jit
def _numbers(out, seed, start, FAR: tl.constexpr, BLOCK: tl.constexpr):
    lanes = tl.arange(0, BLOCK)
    tl.store(out + lanes, gpu._random(start, lanes, seed, FAR))


def test_random_numbers_beyond_32_bits():
    for start in (2**32 - 100, 2**32 + 2**31, 2**40 + 7):
        for seed in (0, -(2**63), 2**63 - 1):
            seed = torch.tensor([seed], device=DEVICE)
            out = torch.empty(256, dtype=torch.int64, device=DEVICE)
            _numbers[(1,)](out, seed, start, FAR=True, BLOCK=256)
            assert torch.equal(out, portable.random_bits(start + torch.arange(256, device=DEVICE), seed))
    seed, out = torch.tensor([77], device=DEVICE), torch.empty(256, dtype=torch.int64, device=DEVICE)
    _numbers[(1,)](out, seed, 2**31 + 2**20, FAR=False, BLOCK=256)
    assert torch.equal(out, portable.random_bits(2**31 + 2**20 + torch.arange(256, device=DEVICE), seed))


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)
def test_relu_is_that_of_torch_for_every_number(dtype):
    x = held(torch.arange(-(2**15), 2**15, device=DEVICE).to(torch.int16).view(dtype))
    y, _ = gpu.encode(x, real("bsilu"), torch.tensor([1], device=DEVICE), 4)
    nan = x.isnan()
    assert torch.equal(y[~nan].view(torch.int16), torch.relu(x)[~nan].view(torch.int16)) and y[nan].isnan().all()


@compiled
def test_more_than_2_to_the_31_elements():
    n = 2**31 + 5000
    if torch.cuda.mem_get_info()[0] < 10 * n:
        pytest.skip("needs 21 GB of GPU memory")
    words, tail = real("bsilu"), points(5000).to(torch.bfloat16)
    x = torch.zeros(n, dtype=torch.bfloat16, device=DEVICE)
    x[-5000:] = tail
    got = gpu.backward(x, x, words)[-5000:]
    wanted = portable.backward(tail, tail, words)
    torch.testing.assert_close(got, wanted, equal_nan=True, **CLOSE[torch.bfloat16])
    seed = torch.tensor([1], device=DEVICE)
    y, codes = gpu.encode(x, words, seed, 4)
    assert torch.equal(y[-5000:].nan_to_num(7), torch.relu(tail).nan_to_num(7))
    decoded = gpu.decode(torch.ones_like(x), codes, words, 4)[-5000:].float()
    assert (decoded - portable.derivative(tail, words)).abs().nan_to_num().max() < 0.1


@compiled
def test_the_operators_use_these_kernels_and_compile():
    words, x = real("bsilu"), points()
    grad = torch.rand_like(x)
    assert operators._cuda() is gpu
    run = torch.compile(lambda g, x: operators.backward(g, x, words) * 2, fullgraph=True)
    torch.testing.assert_close(run(grad, x), 2 * gpu.backward(grad, x, words), equal_nan=True)


@compiled
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_second_gpu():
    words, x = real("bsilu").to("cuda:1"), points().to("cuda:1")
    got = gpu.backward(x, x, words)
    torch.testing.assert_close(got, portable.backward(x, x, words), equal_nan=True, **CLOSE[torch.float32])
