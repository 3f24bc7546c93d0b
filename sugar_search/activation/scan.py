"""Finds the functional activation calls of a module in its code, without running it.

A call counts where it stands, however often it runs, and whether or not its method is ever used. What cannot be seen:
names built at run time (`getattr(F, name)`), hooks, objects made inside the method, ReLU spelled as `clamp(min=0)` or
`maximum`. A method named `relu` of an object that only running would tell counts as that of a tensor.
"""

from collections.abc import Iterator
from types import FunctionType, MethodType

from torch import nn

from sugar_search.activation.bytecode import NOWHERE, Call, Reading, is_function, is_lazy, read_function, read_nested
from sugar_search.activation.lookup import unwrapped

__all__ = ["calls_of", "function_attributes", "methods_of"]


def methods_of(module: nn.Module, cls: type) -> dict[str, tuple[Call, ...]]:
    """The methods of `cls` that hold calls, themselves or through helpers, as `module` would run them.

    Args:
        module: whose attributes the code is resolved with.
        cls: its class, without what a conversion added.

    Returns:
        Each method's name and its calls. Constructors are left out, generators too: whoever runs one holds its calls.
    """
    readings: dict[str, Reading] = {}
    for name, function in _functions(cls):
        if not is_lazy(function):
            readings[name] = Reading(module, cls.__mro__)
            read_function(readings[name], function, module)
    running = _reached(readings)
    result = {}
    for name, reading in readings.items():
        calls = tuple(call for call in reading.found.values() if name in running or not call.builds)
        if calls:
            result[name] = calls
    return result


def _reached(readings: dict[str, Reading]) -> set[str]:
    """The methods that a call of the module may run; `_make_layer`, which its constructor uses, is not among them."""
    reached: set[str] = set()
    waiting: list[str] = [name for name in ("forward", "__call__") if name in readings]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [used for used in readings[name].methods if used in readings]
    return reached


def calls_of(value: object) -> tuple[Call, ...]:
    """The calls that `value` makes when it is called: a function, a method, a partial or a known function itself."""
    reading = Reading(None, ())
    if isinstance(value, MethodType) and isinstance(value.__func__, FunctionType):
        read_function(reading, value.__func__, value.__self__)
    else:
        read_nested(reading, value, NOWHERE)
    return tuple(reading.found.values())


def function_attributes(module: nn.Module) -> tuple[str, ...]:
    """The attributes of `module` itself that hold a function; each is replaced as a whole."""
    # What torch.compile notes about its module is not called through the attribute.
    return tuple(n for n, value in vars(module).items() if is_function(value) and not n.startswith("_torchdynamo_"))


def _functions(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """The methods that instances of `cls` have, apart from torch's and special ones."""
    seen: set[str] = set()
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if name in seen or (name.startswith("__") and name != "__call__"):
                continue
            seen.add(name)
            if isinstance(value, FunctionType) and unwrapped(value) is not None:
                yield name, value
