"""The kinds of activation that a surrogate can replace: their modules, their functions, and how a call is read.

One row of `KINDS` is one kind. A function is told apart by identity, as `TorchFunctionMode` hands it over; aliases such
as `torch.nn.functional.relu_` and `torch.relu_` are one object.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sugar_search.catalog import normal
from sugar_search.errors import InputError

__all__ = ["FUNCTIONS", "KINDS", "METHODS", "Function", "Kind", "check_kinds", "kind_of", "read_call"]


@dataclass(frozen=True)
class Function:
    """One function of a kind.

    Attributes:
        kind: the key in `KINDS`.
        arguments: its parameters in order; the first is the input.
        inplace: whether it always writes its input.
        needs: the values that some arguments must have for it to be of this kind.
    """

    kind: str
    arguments: tuple[str, ...]
    inplace: bool
    needs: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of activation.

    Attributes:
        title: its name in messages.
        module: the class that computes it; subclasses with a forward of their own do not count.
        functions: each function with its parameters after the input.
        operators: what it is called in TorchScript graphs.
    """

    title: str
    module: type[nn.Module]
    functions: tuple[tuple[Callable[..., Tensor], tuple[str, ...]], ...]
    operators: tuple[str, ...]


KINDS: dict[str, Kind] = {
    "relu": Kind(
        "ReLU",
        nn.ReLU,
        (
            (functional.relu, ("inplace",)),
            (torch.relu, ()),
            (torch.relu_, ()),
            (Tensor.relu, ()),
            (Tensor.relu_, ()),
        ),
        ("relu", "relu_"),
    ),
    "gelu": Kind("GELU", nn.GELU, ((functional.gelu, ("approximate",)),), ("gelu", "gelu_")),
    "silu": Kind("SiLU", nn.SiLU, ((functional.silu, ("inplace",)),), ("silu", "silu_")),
    "leakyrelu": Kind(
        "LeakyReLU",
        nn.LeakyReLU,
        (
            (functional.leaky_relu, ("negative_slope", "inplace")),
            (functional.leaky_relu_, ("negative_slope",)),
        ),
        ("leaky_relu", "leaky_relu_"),
    ),
    "relu6": Kind("ReLU6", nn.ReLU6, ((functional.relu6, ("inplace",)),), ("relu6", "relu6_")),
}

FUNCTIONS: dict[Callable[..., Any], Function] = {
    function: Function(name, ("input", *arguments), getattr(function, "__name__", "").endswith("_"))
    for name, kind in KINDS.items()
    for function, arguments in kind.functions
}

# What nn.ReLU6 calls. In code it may be called with any bounds, so only its calls can be told apart.
FUNCTIONS[functional.hardtanh] = Function(
    "relu6", ("input", "min_val", "max_val", "inplace"), False, (("min_val", 0.0), ("max_val", 6.0))
)

# Methods of tensors, by name: code that calls them does not say that its object is a tensor.
METHODS: dict[str, str] = {
    function.__name__: name
    for name, kind in KINDS.items()
    for function, _ in kind.functions
    if getattr(Tensor, getattr(function, "__name__", ""), None) is function
}


def kind_of(module: nn.Module | None) -> str | None:
    """The kind that `module` computes as torch defines it, or None."""
    for name, kind in KINDS.items():
        if isinstance(module, kind.module) and type(module).forward is kind.module.forward:
            return name
    return None


def check_kinds(sites: str | Iterable[str]) -> tuple[str, ...]:
    """The kinds named by a user, spelled as in `KINDS`, each once.

    Raises:
        InputError: none was given, or one is unknown.
    """
    given = (sites,) if isinstance(sites, str) else tuple(sites)
    found = tuple(dict.fromkeys(normal(str(name)) for name in given))
    for name, written in zip(found, given):
        if name not in KINDS:
            rule = "sites must name kinds of activation"
            raise InputError(rule, written, f"choose from {', '.join(KINDS)}")
    if not found:
        raise InputError("sites must name at least one kind of activation", given, f"choose from {', '.join(KINDS)}")
    return found


def read_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Tensor, bool] | None:
    """The input of a call of one of `FUNCTIONS`, and whether the call writes it; None when it is not of its kind.

    Raises:
        InputError: the call has an argument that a surrogate cannot honour, such as `out`.
    """
    known = FUNCTIONS[function]
    given = {**dict(zip(known.arguments, args)), **kwargs}
    if not set(given) <= set(known.arguments) or len(args) > len(known.arguments) or "input" not in given:
        unknown = ", ".join(name for name in given if name not in known.arguments) or "its positional arguments"
        name = getattr(function, "__name__", "the function")
        raise InputError(
            f"a call of {name} with a surrogate gradient must have the arguments {', '.join(known.arguments)}",
            unknown,
            "leave it out, or call the function outside the converted part",
        )
    if any(given.get(name) != value for name, value in known.needs):
        return None
    return given["input"], known.inplace or bool(given.get("inplace", False))
