"""sugar-search: automatic search of surrogate derivatives for ReLU networks.

The public names are loaded on first use, so that importing the package (and `sugar-search --help`) stays fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sugar_search.activation.block import surrogate_gradients as surrogate_gradients
    from sugar_search.activation.convert import convert as convert
    from sugar_search.activation.convert import sites as sites
    from sugar_search.activation.export import export as export
    from sugar_search.activation.leftover import leftover as leftover
    from sugar_search.activation.module import SugarReLU as SugarReLU
    from sugar_search.data._dataset import Dataset as Dataset
    from sugar_search.data._dataset import Split as Split
    from sugar_search.errors import SugarError as SugarError
    from sugar_search.symbolic.surrogate import Surrogate as Surrogate
    from sugar_search.symbolic.surrogate import surrogate as surrogate

__version__ = "0.1.0"

# Public name -> the module that defines it.
_PUBLIC = {
    "SugarReLU": "sugar_search.activation.module",
    "convert": "sugar_search.activation.convert",
    "sites": "sugar_search.activation.convert",
    "export": "sugar_search.activation.export",
    "leftover": "sugar_search.activation.leftover",
    "Surrogate": "sugar_search.symbolic.surrogate",
    "surrogate": "sugar_search.symbolic.surrogate",
    "surrogate_gradients": "sugar_search.activation.block",
    "Dataset": "sugar_search.data._dataset",
    "Split": "sugar_search.data._dataset",
    "SugarError": "sugar_search.errors",
}

__all__ = [
    "Dataset",
    "Split",
    "SugarError",
    "SugarReLU",
    "Surrogate",
    "__version__",
    "convert",
    "export",
    "leftover",
    "search",
    "sites",
    "surrogate",
    "surrogate_gradients",
]


def __getattr__(name: str) -> Any:
    if name == "search":  # a package that can be called
        return importlib.import_module("sugar_search.search")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sugar_search' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
