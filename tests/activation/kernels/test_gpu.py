"""The Triton kernels: interpreted on the CPU, compiled without a GPU, and run on one where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

CHECKS = Path(__file__).with_name("gpu_checks.py")


def run_checks(**environment):
    """`gpu_checks` in a process of its own, since Triton decides while it is imported whether to interpret."""
    inherited = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", str(CHECKS)],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_interpreted():
    assert " passed" in run_checks(TRITON_INTERPRET="1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_the_gpu():
    assert " passed" in run_checks()


KERNELS = {
    "backward": ({"grad": "float", "x": "float", "out": "float"}, [{}]),
    "encode": (
        {"x": "float", "seed": "*i64", "y": "float", "codes": "*u8", "length": "i32"},
        [{"BITS": bits, "FAR": far} for bits in (4, 8) for far in (False, True)],
    ),
    "decode": ({"grad": "float", "codes": "*u8", "out": "float", "length": "i32"}, [{"BITS": 4}, {"BITS": 8}]),
}


def build(name, dtype, options, target):
    """The assembler text of a kernel for a GPU that need not be here."""
    from triton.compiler import ASTSource

    from sugar_search.activation.kernels import gpu

    kernel = getattr(gpu, f"_{name}")
    types = {"words": "*i32", "n": "i32"} | {k: f"*{dtype}" if v == "float" else v for k, v in KERNELS[name][0].items()}
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={each: types.get(each, "constexpr") for each in names},
        constexprs={(names.index(each),): value for each, value in options.items()},
        # What the launch finds out: everything lies on multiples of 16.
        attrs={(i,): [["tt.divisibility", 16]] for i, each in enumerate(names) if each in types},
    )
    import triton

    return triton.compile(source, target=target, options={"num_warps": 4}).asm


@pytest.mark.parametrize("dtype", ("fp32", "bf16"))
def test_the_backward_moves_16_bytes_at_a_time(dtype, tmp_path, monkeypatch):
    """On an H100: both inputs and the output in vectors, nothing through local or shared memory."""
    from triton.backends.compiler import GPUTarget

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    text = build("backward", dtype, {"BLOCK": 1024, "MEMBERS": False}, GPUTarget("cuda", 90, 32))["ptx"]
    vectors = 2 if dtype == "fp32" else 1
    assert text.count("ld.global.cg.v4.b32") == 2 * vectors and text.count("st.global.v4.b32") == vectors
    assert "local" not in text and "shared" not in text
    # The pieces, in two halves, of 8 elements.
    assert sum("ld.global" in line and ".b64" in line for line in text.splitlines()) == 16


TARGETS = (("cuda", 80, 32), ("cuda", 90, 32), ("cuda", 100, 32), ("hip", "gfx942", 64))


@pytest.mark.long
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    "target", (("cuda", 80, 32), ("cuda", 90, 32), ("cuda", 100, 32), ("hip", "gfx942", 64)), ids=str
)
def test_every_kernel_compiles(name, target, tmp_path, monkeypatch):
    from triton.backends.compiler import GPUTarget

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    for dtype in ("fp32", "bf16", "fp16", "fp64"):
        for options in KERNELS[name][1]:
            for several in (False, True):
                built = build(name, dtype, {**options, "BLOCK": 1024, "MEMBERS": several}, GPUTarget(*target))
                assert built["cubin" if target[0] == "cuda" else "hsaco"]
