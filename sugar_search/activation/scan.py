"""Finds the functional activation calls of a module in its code, without running it.

A call counts where it stands, however often it runs, and whether or not its method is ever used. What cannot be seen:
names built at run time (`getattr(F, name)`), hooks, objects made inside the method, ReLU spelled as `clamp(min=0)` or
`maximum`. A method named `relu` of an object that only running would tell counts as that of a tensor.
"""

import inspect
from collections.abc import Iterator
from types import FunctionType, MethodType

from torch import nn

from sugar_search.activation.bytecode import is_function, is_lazy, read_function, read_nested
from sugar_search.activation.calls import NOWHERE, Call, Reading
from sugar_search.activation.lookup import MISSING, unwrapped

__all__ = ["calls_of", "function_attributes", "methods_of"]


def methods_of(
    module: nn.Module, cls: type, registered: frozenset[nn.Module] = frozenset()
) -> dict[str, tuple[Call, ...]]:
    """The methods of `cls` that hold calls, themselves or through helpers, as `module` would run them.

    Args:
        module: whose attributes the code is resolved with.
        cls: its class, without what a conversion added.
        registered: every module of the model.

    Returns:
        Each method's name and its calls. Constructors are left out, and coroutines.
    """
    readings: dict[str, Reading] = {}
    for name, function, owner in _functions(cls, module):
        if not is_lazy(function) or inspect.isgeneratorfunction(function):
            readings[name] = Reading(module, cls.__mro__, registered)
            read_function(readings[name], function, owner)
    running = _reached(readings, "forward", "__call__")
    result = {}
    for name, reading in readings.items():
        # What a method hands out, as in `self.activation()(x)`, runs after it has left the mode: its users enter too.
        handed = [readings[other] for other in _reached(readings, name) if other != name and readings[other].hands_out]
        found = {key: call for one in (reading, *handed) for key, call in one.found.items()}
        calls = tuple(call for call in found.values() if name in running or not call.builds)
        if calls:
            result[name] = calls
    return result


def _reached(readings: dict[str, Reading], *start: str) -> set[str]:
    """The methods that those of `start` may run. A constructor's `_make_layer` is not among those of "forward"."""
    reached: set[str] = set()
    waiting: list[str] = [name for name in start if name in readings]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [used for used in readings[name].methods if used in readings]
    return reached


def calls_of(value: object, registered: frozenset[nn.Module] = frozenset()) -> tuple[Call, ...]:
    """The calls that `value` makes when it is called: a function, a method, a partial or a known function itself."""
    reading = Reading(None, (), registered)
    if isinstance(value, MethodType) and isinstance(value.__func__, FunctionType):
        read_function(reading, value.__func__, value.__self__)
    else:
        read_nested(reading, value, NOWHERE)
    return tuple(reading.found.values())


def function_attributes(module: nn.Module) -> tuple[str, ...]:
    """The attributes of `module` itself that hold a function; each is replaced as a whole."""
    # What torch.compile notes about its module is not called through the attribute.
    return tuple(n for n, value in vars(module).items() if is_function(value) and not n.startswith("_torchdynamo_"))


def _functions(cls: type, module: nn.Module) -> Iterator[tuple[str, FunctionType, object]]:
    """The methods that instances of `cls` have, apart from torch's and special ones, with their first argument."""
    seen: set[str] = set()
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if name in seen or (name.startswith("__") and name != "__call__"):
                continue
            seen.add(name)
            owner: object = module
            if isinstance(value, staticmethod):
                value, owner = value.__func__, MISSING
            elif isinstance(value, classmethod):
                value, owner = value.__func__, cls
            elif isinstance(value, property):
                value = value.fget
            if isinstance(value, FunctionType) and unwrapped(value) is not None:
                yield name, value, owner
