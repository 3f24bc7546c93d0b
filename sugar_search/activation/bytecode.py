"""Reads bytecode for functional activation calls, without running it.

Instructions are read in order, with one value tracked: what the last load stands for. `F.relu` is a load of `F`
followed by an attribute, resolved through globals, closures, local imports and the module's own attributes. Helper
functions that are loaded are read too; code of torch and methods of other modules are not.
"""

import dis
import functools
import inspect
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn

from sugar_search.activation.calls import Call, Reading, Where
from sugar_search.activation.intercept import Injected
from sugar_search.activation.kinds import FUNCTIONS, KINDS, METHODS, kind_of
from sugar_search.activation.lookup import MISSING, Inline, attribute, is_held, unwrapped

__all__ = ["is_function", "is_lazy", "read_function", "read_nested", "scripted_kinds"]

_FORWARDS: dict[Any, str] = {kind.module.forward: name for name, kind in KINDS.items()}
_CLASSES: dict[type, str] = {kind.module: name for name, kind in KINDS.items()}


def is_function(value: object) -> bool:
    """Whether an attribute with this value is replaced as a whole."""
    kinds = (FunctionType, MethodType, BuiltinFunctionType, MethodDescriptorType, functools.partial, Injected)
    return isinstance(value, kinds)


def is_lazy(function: FunctionType) -> bool:
    """Whether calling it only makes a generator or coroutine, whose body runs later."""
    return bool(function.__code__.co_flags & (0x20 | 0x80 | 0x200))


def _known(value: object) -> str | None:
    """The kind of a function, or None."""
    try:
        if (function := FUNCTIONS.get(value)) is not None:  # type: ignore[call-overload]
            return None if function.needs else function.kind
        return _FORWARDS.get(value)
    except TypeError:  # not hashable
        return None


def _read_value(reading: Reading, value: object, where: Where, depth: int = 0) -> None:
    """Reads what the code at `where` may run once it holds `value`."""
    if isinstance(value, torch.jit.ScriptFunction):
        for kind in scripted_kinds(value):
            _add(reading, kind, where, scripted=True)
    elif isinstance(value, MethodType):
        function, owner = value.__func__, value.__self__
        if not isinstance(function, FunctionType):
            return
        # A module's methods are looked at by themselves; the body of a generator runs inside its caller.
        if not isinstance(owner, nn.Module) or is_lazy(function):
            read_function(reading, function, owner.owner if isinstance(owner, Inline) else owner)
        elif owner is not reading.module and (id(function), id(owner)) not in reading.visited:
            reading.visited.add((id(function), id(owner)))
            other = Reading(owner, type(owner).__mro__, reading.registered)
            read_function(other, function, owner)
            if other.hands_out:
                reading.found |= other.found
    elif isinstance(value, FunctionType):
        # `Base.forward(self, x)` names the function alone.
        own = any(value in vars(base).values() for base in reading.mro)
        read_function(reading, value, reading.module if own else MISSING)
    elif isinstance(value, functools.partial):
        read_nested(reading, value.func, where, depth)
    elif isinstance(value, dict | list | tuple) and depth < 2 and len(value) <= 256:
        for part in value.values() if isinstance(value, dict) else value:
            if not (isinstance(value, tuple) and isinstance(part, type)):  # classes for isinstance
                read_nested(reading, part, where, depth)
    elif not isinstance(value, type | nn.Module | torch.Tensor) and value is not MISSING:
        call, wrapped = attribute(type(value), "__call__"), inspect.getattr_static(value, "__wrapped__", None)
        if isinstance(call, FunctionType):
            read_function(reading, call, value)
        elif isinstance(wrapped, FunctionType):  # functools.lru_cache
            read_function(reading, wrapped, MISSING)


def read_nested(reading: Reading, value: object, where: Where, depth: int = 0) -> None:
    """A function that is itself the value, or inside a container or a partial."""
    if (kind := _known(value)) is not None:
        _add(reading, kind, where)
    elif isinstance(value, type) and value in _CLASSES:
        _add(reading, _CLASSES[value], where, builds=True)
    elif not _read_held(reading, value, where):
        _read_value(reading, value, where, depth + 1)


def _read_held(reading: Reading, value: object, where: Where) -> bool:
    """Reads a bound method or a module kept elsewhere than among registered modules, where no conversion gets to it.

    Returns:
        False when it is neither.
    """
    if isinstance(value, MethodType) and isinstance(function := value.__func__, FunctionType):
        if (kind := _known(function)) is not None:
            _add(reading, kind, where)
        else:
            owner = value.__self__
            read_function(reading, function, owner.owner if isinstance(owner, Inline) else owner)
    elif isinstance(value, nn.Module):
        for part in () if value in reading.registered and kind_of(value) is None else value.modules():
            if (kind := kind_of(part)) is not None:
                _add(reading, kind, where)
            elif isinstance(forward := attribute(type(part), "forward"), FunctionType):
                read_function(reading, forward, part)
    else:
        return False
    return True


def scripted_kinds(function: Any) -> list[str]:
    """The kinds of activation inside a TorchScript function or method."""
    graph = str(function.inlined_graph)
    return [name for name, kind in KINDS.items() if any(f"aten::{op}(" in graph for op in kind.operators)]


def read_function(reading: Reading, function: FunctionType, owner: object) -> None:
    """Reads one function; `owner` is what its first argument will be, or MISSING."""
    inner = unwrapped(function)
    if inner is None or (id(inner), id(owner)) in reading.visited:
        return
    reading.visited.add((id(inner), id(owner)))
    code = inner.__code__
    names: dict[str, object] = {}
    for name, cell in zip(code.co_freevars, inner.__closure__ or ()):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    defaults = inner.__defaults__ or ()
    names |= dict(zip(code.co_varnames[code.co_argcount - len(defaults) :], defaults)) | (inner.__kwdefaults__ or {})
    first = code.co_varnames[:1] if owner is not MISSING and code.co_argcount else ()
    _read_code(reading, code, inner.__globals__, names | dict.fromkeys(first, owner), set(first))


def _read_code(
    reading: Reading, code: CodeType, globals_: dict[str, Any], names: dict[str, object], local: set[str]
) -> None:
    """Follows the loads of one code object and of those nested in it; `local` are names whose value was read before."""
    top: object = MISSING
    imported: object = MISSING
    line, before = code.co_firstlineno, ("", None)
    rooted = False
    looked_in: object = MISSING
    steps = list(dis.get_instructions(code))
    for step, after in zip(steps, [*steps[1:], steps[-1]]):
        if step.positions is not None and step.positions.lineno is not None:
            line = step.positions.lineno
        where = Where(code.co_qualname.rpartition("<locals>.")[2], code.co_filename, line, step.offset)
        name, value = step.opname, step.argval
        if name not in ("LOAD_ATTR", "LOAD_METHOD"):
            rooted = "NULL" in step.argrepr or before[0] == "PUSH_NULL"
        # Whether the value is about to be called: Python marks it at the value, before it, or (from 3.13 on) after it.
        called, read = rooted or name == "LOAD_METHOD" or "NULL" in step.argrepr or after.opname == "PUSH_NULL", False
        held = True
        if name in ("LOAD_GLOBAL", "LOAD_NAME"):
            top = globals_.get(value, MISSING)
        elif name.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")):
            variable = value[-1] if isinstance(value, tuple) else value
            top, read = names.get(variable, MISSING), variable in local
        elif name in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            held = top is not MISSING and name != "LOAD_SUPER_ATTR" and is_held(top, value)
            base, top = top, attribute(top, value)
            if base is MISSING or name == "LOAD_SUPER_ATTR":
                top = _inherited(reading, code, value)
            if base is reading.module and is_function(vars(base).get(value)):
                top = None  # replaced where it is kept
            elif isinstance(top, MethodType) and top.__self__ is reading.module:
                reading.methods.add(value)
            if top is MISSING and called and value in METHODS and not isinstance(base, nn.Module | ModuleType | type):
                _add(reading, METHODS[value], where)
        elif name.startswith("STORE_FAST") or name == "STORE_DEREF":
            stored = value if isinstance(value, tuple) else (value,)
            names |= dict.fromkeys(stored[1:], MISSING) if name.endswith("STORE_FAST") else {}
            names[stored[0]] = top
            local.add(stored[0])
            top = names.get(stored[-1], MISSING) if name.endswith("LOAD_FAST") else MISSING
        elif name == "IMPORT_NAME":
            top = imported = _module(value, globals_, before)
        elif name == "IMPORT_FROM":
            top = attribute(top if before[0] in ("SWAP", "POP_TOP", "IMPORT_FROM") else imported, value)
        elif isinstance(value, CodeType):
            # A lambda, a comprehension or a function defined inside sees some of the names known here.
            known = len(reading.found)
            _read_code(reading, value, globals_, {n: names[n] for n in value.co_freevars if n in names}, set(local))
            reading.hands_out |= len(reading.found) > known and not value.co_name.endswith("comp>")
        elif name not in ("CACHE", "EXTENDED_ARG", "NOP", "PUSH_NULL", "SWAP", "POP_TOP", "PRECALL", "COPY_FREE_VARS"):
            top = MISSING
        if name.startswith(("LOAD_", "IMPORT_FROM")) and top is not MISSING and not read:
            _use(reading, top, called, held, where)
            if isinstance(top, MethodType) and isinstance(top.__self__, Inline) and not called:
                top = MISSING  # what a property gives
        # `getattr(F, "relu")` and `getattr(F, self.name)`: the module, then a string.
        if name == "LOAD_GLOBAL" and value == "getattr":
            looked_in = None
        elif looked_in is None and isinstance(top, ModuleType):
            looked_in = top
        elif isinstance(looked_in, ModuleType) and isinstance(text := value if name == "LOAD_CONST" else top, str):
            _use(reading, attribute(looked_in, text), True, True, where)
            looked_in = MISSING
        before = (name, value)


def _use(reading: Reading, value: object, called: bool, held: bool, where: Where) -> None:
    """Notes a known function, or goes on into a helper."""
    known = len(reading.found)
    if (kind := _known(value)) is not None:
        _add(reading, kind, where)
    elif called and isinstance(value, type) and value in _CLASSES:
        # `nn.ReLU()(x)` inside a method calls F.relu; `isinstance(m, nn.ReLU)` does not.
        _add(reading, _CLASSES[value], where, builds=True)
        called = False  # the call only makes it
    elif not (held and _read_held(reading, value, where)):
        _read_value(reading, value, where)
    reading.hands_out |= len(reading.found) > known and not called


def _add(reading: Reading, kind: str, where: Where, scripted: bool = False, builds: bool = False) -> None:
    reading.found.setdefault((kind, where), Call(kind, where, scripted, builds))


def _inherited(reading: Reading, code: CodeType, name: str) -> object:
    """What `super().name` stands for: the first definition after the class whose code this is."""
    if "super" not in code.co_names:
        return MISSING
    own = False
    for base in reading.mro:
        value = vars(base).get(name)
        if own and isinstance(value, FunctionType):
            return value if value in _FORWARDS else MethodType(value, Inline(reading.module))
        own = own or any(isinstance(v, FunctionType) and _holds(v, code) for v in vars(base).values())
    return MISSING


def _holds(function: FunctionType, code: CodeType) -> bool:
    inner = unwrapped(function)
    return inner is not None and inner.__code__ is code


def _module(name: str, globals_: dict[str, Any], before: tuple[str, object]) -> object:
    """The module of an import statement, if it is loaded; a relative one within the function's package."""
    listed = isinstance(before[1], tuple)
    for full in (name, f"{globals_.get('__package__') or ''}.{name}"):
        if listed and full in sys.modules:
            return sys.modules[full]
        if not listed and name.partition(".")[0] in sys.modules:
            return sys.modules[name.partition(".")[0]]
    return MISSING
