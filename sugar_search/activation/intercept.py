"""Gives functional activation calls a surrogate gradient: classes whose methods enter a `SurrogateMode`.

A converted module gets a subclass of its class, made here, whose methods run the original ones inside the mode (as
`torch.nn.utils.parametrize` does). Its name, its state and `isinstance` stay. The class holds what the conversion is,
so copies and pickles of the module carry it.
"""

import copyreg
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any

import torch
from torch import Tensor, nn

from sugar_search.activation.mode import SurrogateMode, tell_compiler
from sugar_search.activation.module import Memory, Method, SugarReLU
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate

__all__ = [
    "Injected",
    "Injection",
    "activations_of",
    "conversion_of",
    "converted_class",
    "original_class",
]


@dataclass(frozen=True)
class Injection:
    """What the functional calls of one kind become.

    Attributes:
        kind: a key of `KINDS`.
        surrogate: the surrogate derivative.
        sugar: whether the forward is ReLU.
        method: as in `SugarReLU`.
        memory: as in `SugarReLU`.
    """

    kind: str
    surrogate: Surrogate
    sugar: bool
    method: Method
    memory: Memory = "exact"  # pickles of earlier versions lack it


@lru_cache(maxsize=256)
def _activations(injections: tuple[Injection, ...]) -> dict[str, SugarReLU]:
    tell_compiler()
    return {i.kind: SugarReLU(i.surrogate, sugar=i.sugar, method=i.method, memory=i.memory) for i in injections}


@dataclass(frozen=True)
class Conversion:
    """What a class made here does.

    Attributes:
        original: the class of the module before.
        methods: the names of the methods that enter the mode.
        injections: what the calls become.
    """

    original: type[nn.Module]
    methods: tuple[str, ...]
    injections: tuple[Injection, ...]


def conversion_of(module: nn.Module) -> Conversion | None:
    """How the class of `module` was converted, or None."""
    found: Conversion | None = vars(type(module)).get("_sugar_conversion")
    return found


def original_class(module: nn.Module) -> type[nn.Module]:
    """The class of `module` without a conversion."""
    conversion = conversion_of(module)
    return type(module) if conversion is None else conversion.original


def _entering(function: Callable[..., Any], activations: Mapping[str, SugarReLU]) -> Callable[..., Any]:
    """`function` inside the mode."""

    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            # In the mode while its own code runs, and out of it while its caller's does.
            generator, sent = function(*args, **kwargs), None
            while True:
                try:
                    with SurrogateMode(activations):
                        value = generator.send(sent)
                except StopIteration as end:
                    return end.value
                sent = yield value
    else:

        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with SurrogateMode(activations):
                return function(*args, **kwargs)

    # torch.compile keeps its results, and counts them up to a limit, by code object.
    inside.__code__ = inside.__code__.replace(  # type: ignore[attr-defined]
        co_qualname=getattr(function, "__qualname__", "inside")
    )
    return inside


def _wrapped(value: Any, activations: Mapping[str, SugarReLU]) -> Any:
    """What stands in a class for `value`: a function, or a descriptor that holds one."""
    if isinstance(value, staticmethod | classmethod):
        return type(value)(_entering(value.__func__, activations))
    if isinstance(value, property):
        getter = value.fget
        return value.getter(_entering(getter, activations)) if getter is not None else value
    return _entering(value, activations)


def converted_class(
    original: type[nn.Module], methods: tuple[str, ...], injections: tuple[Injection, ...]
) -> type[nn.Module]:
    """The subclass of `original` whose `methods` run inside the mode; equal arguments give the same class.

    Raises:
        InputError: the class cannot be subclassed.
    """
    return _subclass(Conversion(original, methods, injections))


@lru_cache(maxsize=256)
def _subclass(conversion: Conversion) -> type[nn.Module]:
    original, methods, injections = conversion.original, conversion.methods, conversion.injections
    activations = _activations(injections)

    def fill(namespace: dict[str, Any]) -> None:
        for name in methods:
            namespace[name] = _wrapped(inspect.getattr_static(original, name), activations)
        namespace |= {
            "__module__": original.__module__,
            "__qualname__": original.__qualname__,
            "__doc__": original.__doc__,
            "__reduce_ex__": _reduce,
            "_sugar_conversion": conversion,
            "_sugar_activations": activations,
            "_apply": _apply,
        }

    try:
        made = types.new_class(original.__name__, (nn.Module,), {"metaclass": type(original)}, fill)
        # Only now, so that a user's __init_subclass__, which may keep a registry, does not hear of it.
        made.__bases__ = (original,)
        return made
    except TypeError as error:
        rule = f"a class with functional activation calls must allow a subclass ({error})"
        raise InputError(rule, original.__name__, "give it activation modules such as nn.ReLU()") from error


def activations_of(module: nn.Module) -> Iterator[SugarReLU]:
    """What the functional calls of a converted module run: those of its class, and of functions in its attributes."""
    yield from vars(type(module)).get("_sugar_activations", {}).values()
    for value in vars(module).values():
        if isinstance(value, Injected):
            yield from value.activations.values()


def _made(module: nn.Module) -> Any:
    """The class made here that `module` belongs to, perhaps through a subclass."""
    return next(cls for cls in type(module).__mro__ if "_sugar_conversion" in vars(cls))


def _apply(self: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Moves the module, and has the tables of its calls at hand where it goes."""
    made = _made(self)
    moved: nn.Module = super(made, self)._apply(fn, recurse)
    device = fn(torch.empty(0, device="cpu")).device
    for activation in vars(made)["_sugar_activations"].values():
        activation.hold(device)
    return moved


def _reduce(self: nn.Module, protocol: Any) -> Any:
    """As the original class says, but made again through it: nobody can import the class by name."""
    conversion, made = conversion_of(self), _made(self)
    reduced = super(made, self).__reduce_ex__(protocol)
    if conversion is None or isinstance(reduced, str) or reduced[0] is not copyreg.__newobj__:  # type: ignore[attr-defined]
        return reduced
    arguments = (conversion.original, conversion.methods, conversion.injections, *reduced[1][1:])
    return (_restore, arguments, *reduced[2:])


def _restore(
    original: type[nn.Module], methods: tuple[str, ...], injections: tuple[Injection, ...], *arguments: Any
) -> nn.Module:
    cls = converted_class(original, methods, injections)
    return cls.__new__(cls, *arguments)


class Injected:
    """A function kept as an attribute, such as `TransformerEncoderLayer.activation`, run inside the mode.

    Args:
        function: the original.
        injections: what its calls become.
    """

    def __init__(self, function: Callable[..., Any], injections: tuple[Injection, ...]) -> None:
        self.function = function
        self.injections = injections
        self.activations = _activations(injections)
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """The function's value."""
        with SurrogateMode(self.activations):
            return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        titles = ", ".join(i.surrogate.title for i in self.injections)
        return f"Injected({self.__name__}, {titles})"

    def __reduce__(self) -> Any:
        return type(self), (self.function, self.injections)
