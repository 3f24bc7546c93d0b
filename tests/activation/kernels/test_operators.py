"""The operators and the portable kernels: values, codes, layouts, and what torch asks of an operator."""

import importlib
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from kernel_tables import FORMULAS, TYPES, layouts, numbers, same, several, words

from sugar_search.activation.kernels import native, operators, portable
from sugar_search.activation.kernels.random_bits import random_bits
from sugar_search.activation.table.evaluate import evaluate
from sugar_search.activation.table.layout import HIGH, LOW, WORDS
from sugar_search.errors import InputError

KERNELS = ["portable", *(["native"] if native.load() else [])]


@pytest.fixture(params=KERNELS)
def kernels(request):
    with operators.force(request.param):
        yield request.param


def reference(x, table):
    return torch.from_numpy(evaluate(table.numpy(), x.detach().double().numpy()))


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_backward_is_the_table_read_in_numpy(kernels, dtype, formula):
    x = numbers(dtype)
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    expected = (grad.to(wide) * reference(x, words(formula)).to(wide)).to(dtype)
    assert same(operators.backward(grad, x, words(formula)), expected)
    assert same(portable.derivative(x, words(formula)), reference(x, words(formula)))


def test_members_read_their_own_tables(kernels):
    for name, x in layouts(numbers(torch.float32)).items():
        if not x.dim() or len(x) != 3:
            continue
        tables, grad = several(3), torch.randn(x.shape)
        out = operators.backward(grad, x, tables)
        for k in range(3):
            assert same(out[k].contiguous(), (grad[k] * reference(x[k], tables[k])).contiguous()), name
        y, codes = operators.relu_encode(x, tables, torch.tensor(1), 4)
        assert codes.shape == (3, -(-x[0].numel() // 2))
        decoded = operators.decode(torch.ones_like(x), codes, tables, 4, y.stride())
        for k in range(3):
            low, high = tables[k, LOW : HIGH + 1].view(torch.float32)
            assert (
                ((decoded[k] - reference(x[k], tables[k])).abs() <= (high - low) / 15 * 1.001)
                .logical_or(x[k].isnan())
                .all()
            )


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_codes_are_unbiased(kernels, dtype, bits):
    x = torch.linspace(-6, 6, 64).to(dtype)
    table, draws = words(), 10_000
    total, squares = torch.zeros(64, dtype=torch.float64), torch.zeros(64, dtype=torch.float64)
    for seed in range(draws // 100):
        many = x.expand(100, 64).contiguous()
        codes = operators.relu_encode(many, table, torch.tensor([seed * 7919]), bits)[1]
        decoded = operators.decode(torch.ones(100, 64), codes, table, bits).double()
        total += decoded.sum(0)
        squares += decoded.square().sum(0)
    mean = total / draws
    error = ((squares / draws - mean**2).clamp(min=0) / draws).sqrt()
    assert ((mean - reference(x, table).double()).abs() <= 4 * error + 1e-7).all()
    assert (error > 0).sum() > 50


@pytest.mark.parametrize("bits", [8, 4])
def test_codes_of_zero_and_one_are_exact(kernels, bits):
    x = torch.randn(1001)
    table = words("where(x > 0, 1, 0)")
    for seed in range(5):
        y, codes = operators.relu_encode(x, table, torch.tensor(seed), bits)
        assert torch.equal(operators.decode(x, codes, table, bits, y.stride()), x * (x > 0))


def test_codes_of_a_constant(kernels):
    # Its range has no width.
    table = words().clone()
    table[LOW] = table[HIGH] = np.float32(0.7).view(np.int32).item()
    codes = operators.relu_encode(torch.randn(33), table, torch.tensor(0), 4)[1]
    assert not codes.any()
    assert torch.equal(operators.decode(torch.ones(33), codes, table, 4), torch.full((33,), 0.7))


def test_seeds_and_elements_give_numbers_of_their_own():
    index = torch.arange(1 << 16)
    first, second = (random_bits(index, torch.tensor(seed)) for seed in (1, 2))
    for bits in (first, second):
        assert bits.min() >= 0 and bits.max() < 1 << 24
        counts = torch.bincount(bits >> 16, minlength=256).double()
        # 255 degrees of freedom: beyond 400 once in 10**7.
        assert float(((counts - 256) ** 2 / 256).sum()) < 400
        for distance in (1, 16, 32):  # elements 16 apart share a hash
            apart = torch.stack((bits[distance:], bits[:-distance])).double()
            assert abs(float(torch.corrcoef(apart)[0, 1])) < 0.02
        assert abs(float(bits.double().mean()) / 2**23 - 1) < 4 * 3**-0.5 / 2**8
    assert abs(float(torch.corrcoef(torch.stack((first, second)).double())[0, 1])) < 0.02
    assert int((first == second).sum()) < 5


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_relu_is_torchs(kernels, dtype):
    for x in layouts(numbers(dtype)).values():
        assert same(operators.relu(x), torch.relu(x))
        y = operators.relu_encode(x, words(), torch.tensor(0), 4)[0]
        assert same(y.contiguous(), torch.relu(x).contiguous())
    if dtype.itemsize == 2:
        every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
        assert same(operators.relu_encode(every, words(), torch.tensor(0), 4)[0], torch.relu(every))


def test_a_gradient_of_another_layout(kernels):
    x = numbers(torch.float32).to(memory_format=torch.channels_last)
    grad = torch.randn(x.shape)
    assert torch.equal(operators.backward(grad, x, words()).nan_to_num(), (grad * reference(x, words())).nan_to_num())
    y, codes = operators.relu_encode(x, words(), torch.tensor(4), 8)
    inside = operators.decode(grad.to(memory_format=torch.channels_last), codes, words(), 8)
    outside = operators.decode(grad, codes, words(), 8, y.stride())
    assert same(outside, inside)
    assert outside.is_contiguous(memory_format=torch.channels_last)


def test_torchs_own_checks():
    check = torch.library.opcheck
    ops = torch.ops.sugar_search
    for name in ("channels_last", "members inside", "scalar"):
        x = layouts(numbers(torch.float32))[name].nan_to_num()
        grad = torch.randn(x.shape)
        tables = several(3) if name == "members inside" else words()
        y, codes = operators.relu_encode(x, tables, torch.tensor([0]), 4)
        check(ops.backward.default, (grad, x, tables))
        check(ops.relu_encode.default, (x, tables, torch.tensor([0]), 4))
        check(ops.decode.default, (grad, codes, tables, 4, y.stride()))
        check(ops.relu.default, (x,))


def test_compiled_without_breaks_and_with_new_sizes():
    @torch.compile(fullgraph=True, dynamic=True, backend="aot_eager")
    def step(x, grad, table, seed):
        y, codes = operators.relu_encode(operators.relu(x) + x, table, seed, 4)
        return y + operators.decode(grad, codes, table, 4, y.stride()) + operators.backward(grad, x, table)

    for size in (5, 6, 9):
        x, grad = torch.randn(2, 3, size, size), torch.randn(2, 3, size, size)
        x = x.to(memory_format=torch.channels_last)
        table, seed = words(FORMULAS[size % 3]), torch.tensor([size])
        y, codes = operators.relu_encode(torch.relu(x) + x, table, seed, 4)
        expected = y + operators.decode(grad, codes, table, 4, y.stride()) + operators.backward(grad, x, table)
        assert torch.equal(step(x, grad, table, seed), expected)


def test_imported_again_and_from_a_copy():
    x = torch.randn(10)
    expected = operators.backward(x, x, words())
    importlib.reload(operators)
    spec = importlib.util.spec_from_file_location("another_copy", operators.__file__)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    assert torch.equal(copy.backward(x, x, words()), expected)
    del copy, sys.modules["sugar_search.activation.kernels.operators"]
    again = importlib.import_module("sugar_search.activation.kernels.operators")
    assert torch.equal(again.backward(x, x, words()), expected)
    sys.modules["sugar_search.activation.kernels.operators"] = operators


@pytest.mark.parametrize(
    "table", [torch.zeros(WORDS), torch.zeros(7, dtype=torch.int32), torch.zeros((2, WORDS), dtype=torch.int32)]
)
def test_tables_of_a_wrong_kind(kernels, table):
    with pytest.raises(InputError, match="tables must be"):
        operators.backward(torch.ones(3), torch.ones(3), table)


@pytest.mark.skipif(not operators.native_available(), reason="needs a C compiler")
def test_the_compiled_kernels_refuse_what_would_lead_them_astray():
    x = torch.ones(100)
    with pytest.raises(RuntimeError, match="no table"):
        operators.backward(x, x, torch.full((WORDS,), 7, dtype=torch.int32))
    with pytest.raises(RuntimeError, match="does not fit"):
        operators.backward(torch.ones(2), x, words())
    with pytest.raises(RuntimeError, match="codes do not fit"):
        operators.decode(x, torch.zeros(3, dtype=torch.uint8), words(), 4)


@pytest.mark.parametrize("mode", ["torch.device('meta')", "torch.inference_mode()"])
def test_ordinary_tensors_are_told_apart_whatever_is_on_at_import(mode):
    code = f"""
import torch
with {mode}:
    from sugar_search.activation.kernels import operators
print(operators._PLAIN == torch._C._dispatch_keys(torch.empty(0)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("name", ["backward", "relu_encode", "decode", "relu"])
@pytest.mark.parametrize("key", ["MPS", "XPU", "PrivateUse1"])
def test_other_devices_have_kernels(name, key):
    assert torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"sugar_search::{name}", key)


def test_the_kernels_of_other_devices_are_the_portable_ones():
    x, grad = torch.randn(2, 33)
    other = torch._C.DispatchKeySet(torch._C.DispatchKey.CompositeExplicitAutograd)
    ops, seed = torch.ops.sugar_search, torch.tensor([3])
    y, codes = ops.relu_encode.default.redispatch(other, x, words(), seed, 4)
    assert all(map(torch.equal, (y, codes), portable.encode(x, words(), seed, 4)))
    got = ops.decode.default.redispatch(other, grad, codes, words(), 4)
    assert torch.equal(got, portable.decode(grad, codes, words(), 4))
    assert torch.equal(ops.backward.default.redispatch(other, grad, x, words()), portable.backward(grad, x, words()))
    assert torch.equal(ops.relu.default.redispatch(other, x), torch.relu(x))


@pytest.mark.parametrize("message", ["PassManager::run failed in the compiler", "C compiler: out of memory"])
def test_other_errors_of_triton_are_raised(monkeypatch, message):
    def launch(*inputs):
        raise RuntimeError(message)

    monkeypatch.setattr(operators, "_gpu", lambda: type("kernels", (), {"backward": staticmethod(launch)}))
    monkeypatch.setattr(operators, "_triton", True)
    x = torch.randn(8)
    with pytest.raises(RuntimeError, match=message):
        operators._backward_cuda(x, x, words())
    assert operators._triton


def test_triton_without_a_compiler_is_left_alone(monkeypatch, caplog):
    calls = []

    def launch(*inputs):
        calls.append(inputs)
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable")

    kernels = type("kernels", (), {"backward": staticmethod(launch)})
    monkeypatch.setattr(operators, "_gpu", lambda: kernels)
    monkeypatch.setattr(operators, "_triton", True)
    x, table = torch.randn(8), words("bsilu")
    for _ in range(2):
        assert torch.equal(operators._backward_cuda(x, x, table), portable.backward(x, x, table))
    assert len(calls) == 1 and caplog.text.count("slowly") == 1
