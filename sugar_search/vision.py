"""Imports torchvision and timm where torchvision's compiled operators do not load.

A CPU build of torch beside a torchvision wheel that was built for CUDA fails at `import torchvision` (and so at
`import timm`) with "operator torchvision::nms does not exist". Models, datasets and transforms need none of its
operators: defining the two schemas that its import registers fake kernels for is enough. Use `load` in place of an
import statement.
"""

import importlib
import sys
from functools import cache
from types import ModuleType

import torch

__all__ = ["load"]

# The signatures of torchvision/csrc/ops/nms.cpp; no kernel stands behind them.
SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@cache
def _mend() -> torch.library.Library | None:
    """Defines the schemas when they are missing; the library must live as long as the process."""
    try:
        importlib.import_module("torchvision")
        return None
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    # The failed import left some of its modules behind, half made.
    for name in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    return library


def load(module: str) -> ModuleType:
    """A module of torchvision or timm, such as "timm.data".

    Raises:
        ImportError: it is not installed.
    """
    _mend()
    return importlib.import_module(module)
