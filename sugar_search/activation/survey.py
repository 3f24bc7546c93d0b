"""Lists every activation of a model that a surrogate could replace: modules, functional calls, function attributes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from sugar_search.activation.bytecode import scripted_kinds
from sugar_search.activation.calls import NOWHERE, Call
from sugar_search.activation.intercept import Injected, conversion_of, original_class
from sugar_search.activation.kinds import kind_of
from sugar_search.activation.module import SugarReLU
from sugar_search.activation.scan import calls_of, function_attributes, methods_of
from sugar_search.errors import InputError

__all__ = ["Part", "survey"]


@dataclass(frozen=True)
class Part:
    """One activation in a model, and how to replace it.

    Attributes:
        module: the activation itself, or the module whose code calls it.
        names: dotted names of `module`.
        kind: a key of `KINDS`: what stood there before any conversion.
        converted: whether a surrogate stands there already.
        place: "" for a module, else where the call is.
        methods: the methods that hold the call, themselves or through one helper.
        attributes: the attributes that hold the function.
        obstacle: why it cannot be replaced, or "".
    """

    module: nn.Module
    names: tuple[str, ...]
    kind: str
    converted: bool = False
    place: str = ""
    methods: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    obstacle: str = ""


def survey(model: nn.Module) -> tuple[Part, ...]:
    """Every part of `model`, in the order of its modules; shared modules count once.

    Raises:
        InputError: a module with calls was parametrized, or a converted one subclassed, before this conversion.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    scripted = tuple(f"{n}." for m, ns in names.items() if isinstance(m, torch.jit.ScriptModule) for n in ns if n)
    registered = frozenset(names)
    # A part of a scripted module is named by the module.
    return tuple(
        part
        for module, dotted in names.items()
        if not (isinstance(module, torch.jit.ScriptModule) and dotted[0].startswith(scripted))
        for part in _parts(module, tuple(dotted), registered)
    )


def _parts(module: nn.Module, names: tuple[str, ...], registered: frozenset[nn.Module]) -> Iterator[Part]:
    kind = module.kind if isinstance(module, SugarReLU) else kind_of(module)
    if kind is not None:
        yield Part(module, names, kind, converted=isinstance(module, SugarReLU))
        return
    obstacles = tuple(_obstacles(module))
    if obstacles:
        yield from (Part(module, names, kind, obstacle=reason) for kind, reason in obstacles)
        return
    if any("_sugar_conversion" in vars(base) for base in type(module).__mro__[1:]):
        rule = "a converted module must not be subclassed before it is converted again"
        raise InputError(rule, type(module).__name__, "convert before torch.nn.utils.parametrize, or only once")
    parts = tuple(_functional(module, names, registered))
    if any(part.methods for part in parts) and parametrize.is_parametrized(module):
        rule = "a module that makes functional activation calls must be converted before it is parametrized"
        raise InputError(rule, type(module).__name__, "call convert before torch.nn.utils.parametrize or weight_norm")
    yield from parts


def _functional(module: nn.Module, names: tuple[str, ...], registered: frozenset[nn.Module]) -> Iterator[Part]:
    """The functional calls that `module` makes, each once however many methods and attributes lead to it."""
    cls = original_class(module)
    attributes: dict[tuple[Call, str], tuple[str, ...]] = {}
    methods: dict[tuple[Call, str], tuple[str, ...]] = {}
    for name in function_attributes(module):
        value = vars(module)[name]
        for call in calls_of(value.function if isinstance(value, Injected) else value, registered):
            # A bare F.relu has no code that would tell two attributes apart.
            key = (call, name if call.where is NOWHERE else "")
            attributes[key] = (*attributes.get(key, ()), name)
    for name, calls in methods_of(module, cls, registered).items():
        for call in calls:
            methods[call, ""] = (*methods.get((call, ""), ()), name)
    conversion = conversion_of(module)
    done = {i.kind for i in conversion.injections} if conversion is not None else set()
    for key in {**attributes, **methods}:
        call, held = key[0], attributes.get(key, ())
        kept = [vars(module)[name] for name in held]
        injected = any(isinstance(v, Injected) and call.kind in {i.kind for i in v.injections} for v in kept)
        yield Part(
            module,
            names,
            call.kind,
            converted=injected if held else call.kind in done,
            place=f"{cls.__name__}.{held[0]}" if held else call.place,
            methods=methods.get(key, ()),
            attributes=held,
            obstacle="inside a TorchScript function" if call.scripted else "",
        )


def _obstacles(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Kinds computed where no call can be seen, with the reason."""
    if isinstance(module, torch.jit.ScriptModule):
        if hasattr(module, "inlined_graph"):
            yield from ((kind, "TorchScript") for kind in scripted_kinds(module))
    elif (isinstance(module, nn.RNNBase) and module.mode == "RNN_RELU") or (
        isinstance(module, nn.RNNCell) and module.nonlinearity == "relu"
    ):
        yield "relu", f"torch's {type(module).__name__}"
    elif isinstance(module, fx.GraphModule):
        # Its code is generated anew whenever it is copied.
        for calls in methods_of(module, type(module)).values():
            yield from ((call.kind, "traced by torch.fx") for call in calls)
