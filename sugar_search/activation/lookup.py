"""Looks attributes up without running code: no property, no `__getattr__`, no descriptor of the user's."""

import functools
import inspect
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MemberDescriptorType, MethodType, ModuleType

from torch import nn

__all__ = ["MISSING", "Inline", "attribute", "is_held", "is_torch", "unwrapped"]


class _Missing:
    """The type of MISSING."""

    def __repr__(self) -> str:
        return "MISSING"


# Nothing is known about a value; None would be a value.
MISSING = _Missing()


@dataclass(frozen=True)
class Inline:
    """Stands for the object of a method whose code runs inside its caller: a property's, or that of a base class."""

    owner: object


_STDLIB = tuple(str(Path(sysconfig.get_path(name))) + os.sep for name in ("stdlib", "platstdlib"))


def is_torch(function: FunctionType) -> bool:
    """Whether the function is torch's or Python's own code, or that of this conversion."""
    name = str(function.__globals__.get("__name__", ""))
    top = name.partition(".")[0]
    if top == "torch" or name.startswith("sugar_search.activation."):
        return True
    # A user's file may be called like a module of Python's.
    file = function.__code__.co_filename
    own = file.startswith(_STDLIB) and "site-packages" not in file
    return top in sys.stdlib_module_names and (own or file.startswith("<"))


def unwrapped(function: FunctionType) -> FunctionType | None:
    """The user's function behind a decorator of torch, such as `torch.no_grad()` or `torch.compile`; None if torch's.

    The methods that a conversion puts around a module's own are seen through in the same way.
    """
    seen: set[int] = set()
    while is_torch(function):
        inner = getattr(function, "__wrapped__", None) or getattr(function, "_torchdynamo_orig_callable", None)
        if not isinstance(inner, FunctionType) or id(inner) in seen:
            return None
        seen.add(id(inner))
        function = inner
    return function


def is_held(base: object, name: str) -> bool:
    """Whether `base.name` is an object that is kept there, not a method made for the occasion or a registered part."""
    if isinstance(base, nn.Module) and name in base._modules:
        return False
    if name in getattr(base, "__dict__", {}) and not isinstance(base, type):
        return True
    return not isinstance(inspect.getattr_static(base, name, None), FunctionType | classmethod | property)


def attribute(base: object, name: str) -> object:
    """What `base.name` would give, with functions bound to their object; MISSING where only running code could tell."""
    if base is MISSING:
        return MISSING
    if isinstance(base, ModuleType):
        return vars(base).get(name, MISSING)
    if isinstance(base, nn.Module):
        for table in (base.__dict__, base._modules, base._parameters, base._buffers):
            if name in table:
                return table[name]
    value = inspect.getattr_static(base, name, MISSING)
    if isinstance(value, staticmethod):
        return value.__func__
    if isinstance(value, classmethod):
        return MethodType(value.__func__, base if isinstance(base, type) else type(base))
    if isinstance(value, property):
        return MethodType(value.fget, Inline(base)) if isinstance(value.fget, FunctionType) else MISSING
    if isinstance(value, functools.partialmethod):
        # It holds the function itself, so a method of that name would not be asked.
        return MethodType(value.func, Inline(base)) if isinstance(value.func, FunctionType) else MISSING
    if isinstance(value, MemberDescriptorType):
        return getattr(base, name, MISSING)
    if isinstance(value, FunctionType) and not isinstance(base, type) and name not in getattr(base, "__dict__", {}):
        return MethodType(value, base)
    return value
