"""The `TorchFunctionMode` that gives functional activation calls a surrogate gradient, and what it may not surround."""

import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from sugar_search.activation.kinds import FUNCTIONS, read_call
from sugar_search.activation.module import SugarReLU
from sugar_search.errors import InputError

__all__ = ["SurrogateMode", "checkpoint_frames", "tell_compiler"]

# What torch.compile runs the body of without the mode.
_CHECKPOINTS = ("checkpoint", "tag_activation_checkpoint", "wrap_activation_checkpoint")
_BODIES = (*_CHECKPOINTS, "cond", "while_loop", "map_impl", "scan", "associative_scan")


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
