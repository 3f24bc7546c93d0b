"""The default form: an `autograd.Function` whose forward is `torch.relu` itself and whose backward is the surrogate.

The forward is bit for bit ReLU because it calls nothing else, and the backward costs one saved tensor. What composes:
`torch.compile(fullgraph=True)`, autocast, checkpointing, `torch.func.grad`, `vmap`, and `torch.compile` around those
when graph breaks are allowed. What is refused with an error: second derivatives, forward-mode derivatives, and
function transforms inside `fullgraph=True`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sugar_search.activation.exact import compile_tape
from sugar_search.symbolic.tape import Tape

__all__ = ["activation_function", "relu_function"]

Activation = Callable[[Tensor], Tensor]


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
            raise RuntimeError(
                "second derivatives through a surrogate are not defined; use a differentiable activation"
            )

    return Once


def _function(value: Activation, derivative: Activation) -> Activation:
    """A callable with `value` forward and `grad * derivative(x)` backward, closed over by classes of its own.

    Args:
        value: the forward, elementwise.
        derivative: the gradient, elementwise, in the type of its input.
    """
    once = _once(derivative)

    class Surrogated(torch.autograd.Function):
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

    def apply(x: Tensor) -> Tensor:
        return Surrogated.apply(x)

    def guarded(x: Tensor) -> Tensor:
        # Inside torch.func transforms and forward-mode levels Dynamo inlines the forward and would silently
        # differentiate plain ReLU. There the graph breaks (an error under fullgraph) and the eager form runs.
        # `disable` is called here because it imports Dynamo, which takes a second.
        if torch.compiler.is_dynamo_compiling() and _transformed():
            return torch.compiler.disable(apply)(x)
        return apply(x)

    return guarded


def _transformed() -> bool:
    """Whether a torch.func transform or a forward-mode level is active."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


@lru_cache(maxsize=1024)
def relu_function(tape: Tape) -> Activation:
    """ReLU forward, the derivative `tape` backward.

    Args:
        tape: the surrogate derivative g.

    Returns:
        A function of a tensor of any shape, device and floating type; equal tapes share one.
    """
    return _function(torch.relu, compile_tape(tape))


@lru_cache(maxsize=1024)
def activation_function(activation: Tape, derivative: Tape) -> Activation:
    """The surrogate's own activation forward and its derivative backward: the variant without injection.

    Args:
        activation: the activation f.
        derivative: its derivative g.
    """
    return _function(compile_tape(activation), compile_tape(derivative))
