"""Gives functional activation calls a surrogate gradient: a `TorchFunctionMode`, and classes whose methods enter it.

A converted module gets a subclass of its class, made here, whose methods run the original ones inside the mode (as
`torch.nn.utils.parametrize` does). Its name, its state and `isinstance` stay. The class holds what the conversion is,
so copies and pickles of the module carry it.
"""

import copyreg
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sugar_search.activation.kinds import FUNCTIONS, read_call
from sugar_search.activation.module import Memory, Method, SugarReLU
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate

__all__ = [
    "Injected",
    "Injection",
    "SurrogateMode",
    "checkpoint_frames",
    "conversion_of",
    "converted_class",
    "original_class",
    "tell_compiler",
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
    memory: Memory


@cache
def tell_compiler() -> None:
    """Lets torch.compile hand every one of `FUNCTIONS` to modes, as it is in eager code.

    It does so for what torch.overrides lists, and that list leaves out all names that end in an underscore: without
    this, a compiled `torch.relu_(x)` would silently be plain ReLU.
    """
    listed = torch.overrides.get_overridable_functions()
    listed[torch].extend(FUNCTIONS)
    # The compiler keeps a copy once it has run.
    compiler = sys.modules.get("torch._dynamo.variables.torch")
    if compiler is not None:
        compiler.get_overridable_functions().update(FUNCTIONS)


@lru_cache(maxsize=256)
def _activations(injections: tuple[Injection, ...]) -> dict[str, SugarReLU]:
    tell_compiler()
    return {i.kind: SugarReLU(i.surrogate, sugar=i.sugar, method=i.method, memory=i.memory) for i in injections}


# What torch.compile runs the body of without the mode.
_CHECKPOINTS = ("checkpoint", "tag_activation_checkpoint", "wrap_activation_checkpoint")
_BODIES = (*_CHECKPOINTS, "cond", "while_loop", "map_impl", "scan", "associative_scan")


class SurrogateMode(TorchFunctionMode):
    """While entered, the calls of some kinds in this thread compute an activation with a surrogate gradient.

    It has no state that changes, so one object may be entered again, and from several threads.

    Args:
        activations: the activation of each kind.
    """

    def __init__(self, activations: Mapping[str, SugarReLU]) -> None:
        super().__init__()
        self.activations = activations
        self.checkpoints = checkpoint_frames()

    def depth(self) -> int:
        """How many checkpoints lay around the code that entered it."""
        return self.checkpoints

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs `func`, or the activation in its place."""
        kwargs = kwargs or {}
        known = FUNCTIONS.get(func)
        if known is None or known.kind not in self.activations:
            if torch.compiler.is_dynamo_compiling() and getattr(func, "__name__", "") in _BODIES:
                raise _outside(func)
            return func(*args, **kwargs)
        call = read_call(func, args, kwargs)
        if call is None:
            return func(*args, **kwargs)
        if not torch.compiler.is_dynamo_compiling() and _checkpoints() > self.depth():
            raise _outside(func)
        return self.activations[known.kind].call(*call)


def _outside(func: Callable[..., Any]) -> InputError:
    return InputError(
        "a checkpoint must recompute with the surrogate, so it may not start between the surrogate's block or method "
        "and a functional call",
        getattr(func, "__name__", "call"),
        "checkpoint a module, or decorate the checkpointed function with surrogate_gradients(...)",
    )


def _checkpoints() -> int:
    """How many frames of torch.utils.checkpoint this call is inside of.

    A checkpointed function runs again in the backward pass, outside of any mode that was entered around it, and would
    silently give plain ReLU's gradient. Compiled graphs hold the surrogate already.
    """
    # Both forms of checkpoint leave a trace that costs nothing to look for.
    if torch.is_grad_enabled() and torch._C._autograd._top_saved_tensors_default_hooks(True) is None:
        return 0
    return checkpoint_frames()


def checkpoint_frames() -> int:
    """As `_checkpoints`, and slower: also where no checkpoint left a trace."""
    if torch.compiler.is_dynamo_compiling():
        return 0
    count, frame = 0, sys._getframe()
    while frame is not None:
        count += frame.f_globals.get("__name__") == "torch.utils.checkpoint"
        frame = frame.f_back  # type: ignore[assignment]
    return count


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
        }

    try:
        made = types.new_class(original.__name__, (nn.Module,), {"metaclass": type(original)}, fill)
        # Only now, so that a user's __init_subclass__, which may keep a registry, does not hear of it.
        made.__bases__ = (original,)
        return made
    except TypeError as error:
        rule = f"a class with functional activation calls must allow a subclass ({error})"
        raise InputError(rule, original.__name__, "give it activation modules such as nn.ReLU()") from error


def _reduce(self: nn.Module, protocol: Any) -> Any:
    """As the original class says, but made again through it: nobody can import the class by name."""
    conversion = conversion_of(self)
    # The class of self may be a subclass of the one made here.
    made: type = next(cls for cls in type(self).__mro__ if "_sugar_conversion" in vars(cls))
    reduced = super(made, self).__reduce_ex__(protocol)  # type: ignore[arg-type]
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
