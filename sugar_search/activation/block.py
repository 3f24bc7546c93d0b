"""`surrogate_gradients`: a block in which ReLU calls have a surrogate gradient, for code that cannot be edited."""

import inspect
import threading
from collections.abc import Callable, Iterable
from functools import wraps
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

import torch

from sugar_search.activation.kinds import check_kinds
from sugar_search.activation.mode import SurrogateMode, checkpoint_frames, tell_compiler
from sugar_search.activation.module import Method, SugarReLU
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["SurrogateBlock", "surrogate_gradients"]

P = ParamSpec("P")
R = TypeVar("R")


class _Entered(threading.local):
    """The blocks that this thread is in, each with the number of checkpoints around its entry."""

    def __init__(self) -> None:
        self.stack: list[tuple[SurrogateMode, int]] = []

    def last(self, block: SurrogateMode) -> int | None:
        """Where the innermost entry of `block` is, or None: compiled code enters blocks without a note here."""
        return next((i for i in reversed(range(len(self.stack))) if self.stack[i][0] is block), None)


_ENTERED = _Entered()


class SurrogateBlock(SurrogateMode):
    """What `surrogate_gradients` returns: a context manager, and a decorator."""

    def __enter__(self) -> Any:
        if not torch.compiler.is_dynamo_compiling():
            _ENTERED.stack.append((self, checkpoint_frames()))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        if not torch.compiler.is_dynamo_compiling() and (entry := _ENTERED.last(self)) is not None:
            del _ENTERED.stack[entry]
        super().__exit__(*error)

    def depth(self) -> int:
        """How many checkpoints lay around its innermost entry."""
        entry = _ENTERED.last(self)
        return self.checkpoints if entry is None else _ENTERED.stack[entry][1]

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """`function`, run inside the block whenever it is called.

        Raises:
            InputError: a class, or a function whose body runs after the call (a generator or a coroutine).
        """
        if not torch.compiler.is_dynamo_compiling():
            _check_function(function)
        activations = self.activations

        @wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with SurrogateMode(activations):
                return function(*args, **kwargs)

        return inside


def _check_function(function: Any) -> None:
    """Refuses what would leave the block before its code runs."""
    late = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    if inspect.isclass(function) or any(test(function) for test in late):
        raise InputError(
            "surrogate_gradients decorates functions that run when they are called",
            getattr(function, "__name__", "the object"),
            "decorate a method such as forward, or write `with surrogate_gradients(...):` inside the body",
        )


def surrogate_gradients(
    surrogate: str | Surrogate = "bsilu",
    *,
    sites: str | Iterable[str] = ("relu",),
    region: str = "all",
    sugar: bool = True,
    method: Method = "auto",
    **parameters: float,
) -> SurrogateBlock:
    """Gives every ReLU that runs inside a block, in this thread, the gradient of a surrogate.

        with ss.surrogate_gradients("bsilu", alpha=1.67):
            loss = criterion(model(x), y)
        loss.backward()

    Functional calls and modules are covered alike; a `SugarReLU`, and a model that was converted, keep their own
    surrogate. Of nested blocks the innermost counts. The backward pass may run outside the block. As a decorator it
    covers each call of the function. Other kinds than "relu" compute ReLU inside the block.

    It works with autocast, `torch.func` and `torch.compile`, also when the block is inside of the compiled function. A
    checkpoint that starts inside the block would recompute outside it, so it raises; decorate the checkpointed
    function instead: `checkpoint(ss.surrogate_gradients("bsilu")(part), x)`. TorchScript and `nn.RNN` run below
    Python and are not covered.

    Args:
        surrogate: a family, a derivative's formula or a `Surrogate`.
        sites: the kinds of activation: "relu", "gelu", "silu", "leakyrelu", "relu6".
        region: "all", or "negative" for a gradient of 1 where x > 0.
        sugar: False runs the surrogate's own activation forward too.
        method: as in `SugarReLU`.
        **parameters: of the family or the formula.

    Returns:
        A context manager that is also a decorator; it may be used many times.

    Raises:
        InputError: the surrogate or an option is invalid; inside the block also at a call with an argument that a
            surrogate cannot honour, and at a checkpoint that starts there.
    """
    if torch.compiler.is_dynamo_compiling():
        names = (sites,) if isinstance(sites, str) else tuple(sites)
        made = getattr(_MADE, _make(surrogate, names, region, sugar, method, tuple(parameters.items())))
        block: SurrogateBlock = made[1]
        return block
    tell_compiler()
    kinds = check_kinds(sites)
    values: dict[str, Any] = dict(parameters)
    template = SugarReLU(surrogate, region=region, sugar=sugar, method=method, **values)
    return SurrogateBlock(dict.fromkeys(kinds, template))


# Blocks that were made while torch.compile traced a function; compiled code refers to them by name.
_MADE = SimpleNamespace()


def _make(
    surrogate: Any, sites: tuple[str, ...], region: str, sugar: bool, method: Method, parameters: tuple[Any, ...]
) -> str:
    """Makes a block outside of the tracing; a name is all that torch.compile can carry out of it."""
    what = (surrogate, sites, region, sugar, method, parameters)
    for name, (known, _) in vars(_MADE).items():
        if known == what:
            return name
    block = surrogate_gradients(surrogate, sites=sites, region=region, sugar=sugar, method=method, **dict(parameters))
    name = f"block_{len(vars(_MADE))}"
    setattr(_MADE, name, (what, block))
    return name


# What torch.compiler.assume_constant_result sets, without the second that importing the compiler takes.
_make._dynamo_marked_constant = True  # type: ignore[attr-defined]
