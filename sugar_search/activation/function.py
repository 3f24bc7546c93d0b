"""The exact form: an `autograd.Function` whose forward is `torch.relu` itself and whose backward is exact code.

The forward is bit for bit ReLU because it calls nothing else, and the backward costs one saved tensor. It calls the
operator, not `torch.relu`, which a surrounding `surrogate_gradients` would intercept again. In place, a copy of the
input is saved and the input itself is overwritten, as `nn.ReLU(inplace=True)` does. What composes:
`torch.compile(fullgraph=True)`, autocast, checkpointing, `torch.func.grad`, `vmap`, and `torch.compile` around those
when graph breaks are allowed. What is refused with an error: second derivatives, forward-mode derivatives, and
function transforms inside `fullgraph=True`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from sugar_search.activation.exact import compile_tape
from sugar_search.activation.transforms import no_second_derivative, transformed
from sugar_search.symbolic.tape import Tape

__all__ = ["Surrogated", "activation_function", "relu_function"]

Activation = Callable[[Tensor], Tensor]


class Surrogated(Protocol):
    """An activation with a surrogate gradient; `inplace` overwrites x and returns it."""

    def __call__(self, x: Tensor, inplace: bool = False) -> Tensor:
        """The activation at x; any shape, device and floating type."""


def _once(derivative: Activation) -> type[torch.autograd.Function]:
    """`grad * derivative(x)` as a Function that has no derivative itself.

    `once_differentiable` is not enough: under `torch.func.grad(torch.func.grad(...))` it silently gives zeros.
    """

    class Once(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(grad: Tensor, x: Tensor) -> Tensor:
            return grad * derivative(x)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            raise no_second_derivative()

    return Once


def _function(value: Activation, write: Activation, derivative: Activation) -> Surrogated:
    """A callable with `value` forward and `grad * derivative(x)` backward, closed over by classes of its own.

    Args:
        value: the forward, elementwise.
        write: the same, written into its input.
        derivative: the gradient, elementwise, in the type of its input.
    """
    once = _once(derivative)

    class OutOfPlace(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return value(x)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
            ctx.save_for_backward(inputs[0])

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            # Dynamo cannot trace a Function inside a backward; compiled graphs refuse second derivatives themselves.
            return grad * derivative(x) if torch.compiler.is_compiling() else once.apply(grad, x)

    class InPlace(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor, before: Tensor) -> Tensor:
            return write(x)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
            ctx.mark_dirty(inputs[0])
            ctx.save_for_backward(inputs[1])

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            (before,) = ctx.saved_tensors
            return once.apply(grad, before), None

    def apply(x: Tensor) -> Tensor:
        return OutOfPlace.apply(x)

    def guarded(x: Tensor, inplace: bool = False) -> Tensor:
        if inplace:
            if torch.compiler.is_dynamo_compiling() or transformed():
                # Neither takes a Function that writes its input; the compiler removes these copies.
                return x.copy_(guarded(x.clone()))
            if not (x.requires_grad and torch.is_grad_enabled()):
                return write(x)
            return InPlace.apply(x, x.detach().clone())
        # Inside torch.func transforms and forward-mode levels Dynamo inlines the forward and would silently
        # differentiate plain ReLU. There the graph breaks (an error under fullgraph) and the eager form runs.
        # `disable` is called here because it imports Dynamo, which takes a second.
        if torch.compiler.is_dynamo_compiling() and transformed():
            return torch.compiler.disable(apply)(x)
        return apply(x)

    return guarded


@lru_cache(maxsize=1024)
def relu_function(tape: Tape) -> Surrogated:
    """ReLU forward, the derivative `tape` backward.

    Args:
        tape: the surrogate derivative g.

    Returns:
        A function of a tensor of any shape, device and floating type; equal tapes share one.
    """
    return _function(torch.ops.aten.relu.default, torch.ops.aten.relu_.default, compile_tape(tape))


@lru_cache(maxsize=1024)
def activation_function(activation: Tape, derivative: Tape) -> Surrogated:
    """The surrogate's own activation forward and its derivative backward: the variant without injection.

    Args:
        activation: the activation f.
        derivative: its derivative g.
    """
    value = compile_tape(activation)
    return _function(value, lambda x: x.copy_(value(x)), compile_tape(derivative))
