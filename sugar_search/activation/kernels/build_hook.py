"""Hatch runs this while it builds the package: it compiles the kernels in C where a compiler is found.

An install never fails for want of a compiler; the kernels in plain torch then serve. SUGAR_SEARCH_NATIVE=0 skips the
compiler.
"""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["NativeKernels"]

_PLACE = "sugar_search/activation/kernels"


class NativeKernels(BuildHookInterface):
    """Adds the library to a wheel, or puts it into the checkout of an editable install."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles; `version` is "editable" or "standard"."""
        if self.target_name != "wheel":
            return
        folder = Path(self.root) / _PLACE
        compiler = _compiler(folder)
        library = folder / compiler.LIBRARY
        # A library of an earlier build, perhaps of another machine, must not travel in this wheel.
        library.unlink(missing_ok=True)
        off = os.environ.get("SUGAR_SEARCH_NATIVE") == "0"
        failure = "switched off" if off else compiler.compile_sources(folder, library)
        if failure:
            print(f"sugar-search: no compiled kernels, plain torch serves instead: {failure}", file=sys.stderr)
            return
        build_data["artifacts"].append(f"/{_PLACE}/{compiler.LIBRARY}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def _compiler(folder: Path) -> ModuleType:
    """The module `compiler` beside this file; importing it by name would import the package, which needs torch."""
    spec = importlib.util.spec_from_file_location("sugar_search_compiler", folder / "compiler.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
