"""The kernels in C: every path, type and layout gives what the portable ones give, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kernel_tables import FORMULAS, TYPES, layouts, numbers, same, several, words

from sugar_search.activation.kernels import compiler, native, portable

pytestmark = pytest.mark.skipif(native.load() is None, reason="there is no C compiler")
PATHS_HERE = range(native.load().sugar_search_path() + 1) if native.load() else ()


@pytest.mark.parametrize("path", PATHS_HERE, ids=lambda i: native.PATHS[i])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_layout_equals_the_portable_kernels(path, dtype):
    for name, x in layouts(numbers(dtype)).items():
        tables = {formula: words(formula) for formula in FORMULAS}
        if x.dim() and len(x) == 3:
            tables["members"] = several(3)
        for key, table in tables.items():
            grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
            case = (name, key)
            assert same(native.backward(grad, x, table, path), portable.backward(grad, x, table)), case
            for bits, seed in ((8, 5), (4, -(2**50) + 7)):
                seed = torch.tensor([seed])
                y, codes = native.encode(x, table, seed, bits, path)
                expected, portable_codes = portable.encode(x, table, seed, bits)
                assert same(y, expected) and same(codes, portable_codes), case
                decoded = native.decode(grad, codes, table, bits, y.stride(), path)
                assert same(decoded, portable.decode(grad, codes, table, bits, y.stride())), case


@pytest.mark.parametrize("path", PATHS_HERE, ids=lambda i: native.PATHS[i])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_value_of_16_bits(path, dtype):
    x = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    table, seed = words(FORMULAS[2]), torch.tensor(1)
    y, codes = native.encode(x, table, seed, 8, path)
    assert same(y, torch.relu(x))
    assert torch.equal(codes, portable.encode(x, table, seed, 8)[1])
    for grad in (torch.ones_like(x), torch.full_like(x, 1.4e-5), torch.full_like(x, 3e4)):
        assert same(native.backward(grad, x, table, path), portable.backward(grad, x, table))


@pytest.mark.parametrize("first", [2**32 - 32, 2**33 - 64, 2**33, 2**45 + 32])
def test_elements_past_32_bits(first):
    x, seed = torch.randn(3, 101), torch.tensor(3)
    for table in (words(), several(3)):
        expected = portable.encode(x, table, seed, 4, first)[1]
        assert not torch.equal(expected, portable.encode(x, table, seed, 4)[1])
        for path in PATHS_HERE:
            assert torch.equal(native.encode(x, table, seed, 4, path, first)[1], expected)


@pytest.mark.parametrize("elements", [(1 << 21) + 37, (1 << 23) + 64])
def test_large_results_written_past_the_caches(elements):
    """They are those of small parts, which other tests compare with the portable kernels."""
    x, grad, table, seed = torch.randn(elements), torch.randn(elements), words(), torch.tensor(9)
    whole = native.backward(grad, x, table)
    y, codes = native.encode(x, table, seed, 4)
    decoded = native.decode(grad, codes, table, 4)
    for first in range(0, elements, 1 << 18):
        part = slice(first, first + (1 << 18))
        assert same(whole[part], native.backward(grad[part], x[part], table)), first
        some, some_codes = native.encode(x[part], table, seed, 4, first=first)
        assert same(y[part], some) and torch.equal(codes[first // 2 :][: len(some_codes)], some_codes), first
        assert same(decoded[part], native.decode(grad[part], some_codes, table, 4)), first
    assert same(native.relu(x), torch.relu(x))


@pytest.mark.parametrize("core", [False, True])
def test_threads_are_torchs_and_change_nothing(core):
    x, grad, table = torch.randn(300_001), torch.randn(300_001), words(core=core)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append((native.backward(grad, x, table), *native.encode(x, table, torch.tensor(1), 4)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


def child(tmp_path, code, **environment):
    """What `code` prints in a process of its own, where `x` is a tensor, `table` its table and `expected` g(x) * x."""
    x = torch.randn(1 << 18)
    torch.save({"x": x, "table": words(), "expected": portable.backward(x, x, words())}, tmp_path / "tensors.pt")
    start = f"""
import os, sys, torch
globals().update(torch.load({str(tmp_path / "tensors.pt")!r}))
from sugar_search.activation.kernels import native, operators
torch.set_num_threads(2)
"""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | environment
    command = [sys.executable, "-c", start + code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("before", ["native.backward(x, x, table)", "torch.ones(1 << 20).exp()"])
def test_a_forked_child_does_not_hang(tmp_path, before):
    # The child reads the result as bytes, because torch's own operators of several threads would hang in it.
    code = f"""
{before}
if os.fork() == 0:
    os._exit(0 if bytes(native.backward(x, x, table).numpy()) == bytes(expected.numpy()) else 1)
print(os.wait()[1])"""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    assert child(tmp_path, code, XDG_CACHE_HOME=cache) == "0"


def test_denormal_inputs_where_the_user_flushes_them():
    x = torch.tensor([1e-40, -1e-40, 0.0, -0.0] * 20)
    expected = portable.derivative(x, words(FORMULAS[1]))
    try:
        torch.set_flush_denormal(True)
        for path in PATHS_HERE:
            assert torch.equal(native.backward(torch.ones_like(x), x, words(FORMULAS[1]), path), expected)
    finally:
        torch.set_flush_denormal(False)


def test_denormals_flushed_in_one_thread_give_the_same_in_all():
    x, table = torch.randn(40000), words(FORMULAS[0], core=True)
    twice, threads = torch.cat([x, x]), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.set_flush_denormal(True)
        first, second = native.backward(torch.ones_like(twice), twice, table).split(len(x))
        assert torch.equal(first, second)
        assert torch.equal(first, native.backward(torch.ones_like(x), x, table))
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


def test_a_stale_library_is_not_used(tmp_path, caplog):
    library = Path(native.load()._name)
    source = compiler.source_hash(native._FOLDER)
    assert native._open(library, source) is not None
    with caplog.at_level("INFO"):
        assert native._open(library, "another") is None
    assert "another version" in caplog.text
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    assert native._open(broken, source) is None
    assert native._open(tmp_path / "missing.so", source) is None


@pytest.mark.parametrize("broken", ["no_such_compiler", "false"])
def test_a_compiler_that_fails_leaves_nothing(tmp_path, monkeypatch, broken):
    monkeypatch.setenv("CC", broken)
    assert compiler.compile_sources(native._FOLDER, tmp_path / compiler.LIBRARY)
    assert list(tmp_path.iterdir()) == []


ANSWER = """
assert torch.equal(operators.backward(x, x, table), expected)
print(operators.native_available(), torch.get_num_threads())"""


def test_switched_off_the_portable_kernels_serve(tmp_path):
    assert child(tmp_path, ANSWER, SUGAR_SEARCH_NATIVE="0") == "False 2"


@pytest.mark.long
def test_without_a_compiler_or_openmp(tmp_path):
    library = native._FOLDER / compiler.LIBRARY
    if native._open(library, compiler.source_hash(native._FOLDER)) is not None:
        pytest.skip("an installed library is found first")
    assert child(tmp_path, ANSWER, CC="no_such_compiler") == "False 2"
    assert not list(tmp_path.glob("cache/*/*.so"))
    fake = tmp_path / "cc"
    fake.write_text('#!/bin/sh\nfor a; do [ "$a" = -fopenmp ] && exit 1; done\nexec cc "$@"\n')
    fake.chmod(0o755)
    assert child(tmp_path, ANSWER, CC=str(fake)) == "True 2"
    assert list(tmp_path.glob("cache/*/*.so"))
