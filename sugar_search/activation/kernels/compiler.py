"""Compiles `native.c` into a shared library. Needs Python alone: it also runs while the package is being installed."""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["LIBRARY", "SOURCES", "build", "source_hash"]

LIBRARY = "_native.dylib" if sys.platform == "darwin" else "_native.so"
SOURCES = ("native.c", "native_path.h", "native_lookup.h", "native_codes.h", "native_core.h")
# Without fused products, so that every processor gives the same bits. psabi: no vector crosses a function's border.
_FLAGS = ["-std=gnu11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared", "-Wno-psabi"]
_SECONDS = 120


def source_hash(folder: Path) -> str:
    """A hash of the sources in `folder`, which the library carries so that a stale one is told apart."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update(folder.joinpath(name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def build(folder: Path, target: Path) -> str | None:
    """Compiles the sources in `folder` into the file `target`, which is either written as a whole or left alone.

    The compiler is $CC, or the first of cc, gcc and clang. One without OpenMP gives a library of one thread.

    Returns:
        None on success, else why there is no library.
    """
    named = shlex.split(os.environ.get("CC", ""))
    compiler = named or [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]
    if not compiler or os.name == "nt":
        return "no C compiler was found"
    define = f'-DSOURCE_HASH="{source_hash(folder)}"'
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
            new = Path(scratch) / target.name
            for openmp in (["-fopenmp"], []):
                command = [*compiler, *_FLAGS, *openmp, define, "-o", str(new), str(folder / SOURCES[0])]
                done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
                if done.returncode == 0:
                    new.replace(target)
                    return None
            return f"{compiler[0]} failed: {(done.stderr.strip() or 'without a message').splitlines()[0]}"
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
