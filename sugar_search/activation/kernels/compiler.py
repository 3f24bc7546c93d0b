"""Compiles `native.c` into a shared library. Needs Python alone: it also runs while the package is being installed."""

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["LIBRARY", "SOURCES", "build", "compile_sources", "source_hash"]

LIBRARY = "_native.dylib" if sys.platform == "darwin" else "_native.so"
SOURCES = ("native.c", "native_path.h", "native_lookup.h", "native_codes.h", "native_core.h")
# Without fused products, so that every processor gives the same bits. psabi: no vector crosses a function's border.
_FLAGS = ["-std=gnu11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared", "-Wno-psabi"]
_SECONDS = 120
_RECALLED = 3600  # seconds for which a failure counts


def source_hash(folder: Path) -> str:
    """A hash of the sources in `folder` and of the options, which the library carries to tell a stale one apart."""
    digest = hashlib.sha256(" ".join(_FLAGS).encode())
    for name in SOURCES:
        digest.update(folder.joinpath(name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def compile_sources(folder: Path, target: Path) -> str | None:
    """Compiles the sources in `folder` into the file `target`, which is either written as a whole or left alone.

    The compiler is $CC, or the first of cc, gcc and clang. One without OpenMP gives a library of one thread.

    Returns:
        None on success, else why there is no library.
    """
    compiler = _compiler()
    if not compiler:
        return "no C compiler was found"
    try:
        return _compile(compiler, folder, target)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)


def build(folder: Path, target: Path) -> str | None:
    """`compile_sources`, but what one compiler failed at is not tried again for an hour, by any process.

    The failure lies in a file beside `target`.

    Args:
        folder: of the sources.
        target: the library; its name tells the sources.

    Returns:
        As `compile_sources`.
    """
    compiler, place = _compiler(), target.with_suffix(".failed")
    who = f"{shlex.join(compiler)} {shutil.which(compiler[0]) if compiler else None}"
    if (before := _recalled(place, who)) is not None:
        return f"{before} (tried again in an hour, or once {place} is removed)"
    failure = compile_sources(folder, target)
    if failure and compiler:
        with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=place.parent, prefix=".build-") as scratch:
            new = Path(scratch) / place.name
            new.write_text(f"{who}\n{failure}\n", encoding="utf-8", errors="replace")
            new.replace(place)
    return failure


def _recalled(place: Path, who: str) -> str | None:
    """Why the compiler `who` failed within the last hour, by the file `place`."""
    try:
        age = time.time() - place.stat().st_mtime
        compiler, failure = place.read_text(encoding="utf-8", errors="replace").split("\n", 1)
    except (OSError, ValueError):
        return None
    return failure.strip() if compiler == who and 0 <= age < _RECALLED else None


def _compiler() -> list[str]:
    """The command of the C compiler; nothing where there is none."""
    if os.name == "nt":
        return []
    return shlex.split(os.environ.get("CC", "")) or [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]


def _compile(compiler: list[str], folder: Path, target: Path) -> str | None:
    define = f'-DSOURCE_HASH="{source_hash(folder)}"'
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
        new = Path(scratch) / target.name
        for openmp in (["-fopenmp"], []):
            command = [*compiler, *_FLAGS, *openmp, define, "-o", str(new), str(folder / SOURCES[0])]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
            if done.returncode == 0:
                new.replace(target)
                return None
        return f"{compiler[0]} failed: {(done.stderr.strip() or 'without a message').splitlines()[0]}"
