"""The stand-alone file that `export` writes, as working code for plain ReLU.

`export` replaces this docstring and the blocks between paired comments, and drops those comments. Nothing imports this
module; it is Python so that it is formatted, type-checked and tested like the rest.
"""

import sys
from typing import Any, TypeGuard

import torch


def surrogate_derivative(x: torch.Tensor) -> torch.Tensor:
    """The surrogate derivative at x, elementwise, in the type of x; half types are computed in float32."""
    dtype = x.dtype
    x = x.float() if dtype in (torch.float16, torch.bfloat16) else x
    # <clamp>
    # Beyond this bound intermediate steps may overflow; the derivative has settled before.
    x = x.clamp(-1.0, 1.0)
    # </clamp>
    # <code>
    result = torch.where(x > 0.0, torch.full_like(x, 1.0), 0.0)
    # </code>
    return torch.where(torch.isnan(x), x, result).to(dtype)


class _Backward(torch.autograd.Function):
    """The backward step. It has no derivative of its own, so second derivatives raise instead of giving zeros."""

    generate_vmap_rule = True

    @staticmethod
    def forward(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return grad * surrogate_derivative(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        raise RuntimeError("second derivatives through a surrogate are not defined")


class _SurrogateReLU(torch.autograd.Function):
    """ReLU forward, bit for bit; the surrogate derivative backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        # A backward that torch.compile traces cannot hold another Function; it refuses second derivatives itself.
        return grad * surrogate_derivative(x) if torch.compiler.is_compiling() else _Backward.apply(grad, x)


def _apply(x: torch.Tensor) -> Any:
    return _SurrogateReLU.apply(x)


class SugarReLU(torch.nn.Module):
    """ReLU whose gradient is the surrogate derivative. It has no parameters. With inplace, x holds the result after."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: torch.Tensor) -> Any:
        """ReLU of x."""
        return x.copy_(self._relu(x.clone())) if self.inplace else self._relu(x)

    def _relu(self, x: torch.Tensor) -> Any:
        # Inside torch.func transforms and forward-mode levels torch.compile would differentiate plain ReLU instead.
        transformed = torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
        if torch.compiler.is_dynamo_compiling() and transformed:
            return torch.compiler.disable(_apply)(x)
        return _apply(x)


def _is_relu(module: torch.nn.Module | None) -> TypeGuard[torch.nn.ReLU]:
    """Whether module computes ReLU: a subclass with a forward of its own does not count."""
    return isinstance(module, torch.nn.ReLU) and type(module).forward is torch.nn.ReLU.forward


def convert(model: torch.nn.Module) -> torch.nn.Module:
    """Replaces every nn.ReLU module of model, in place; a model that is itself a ReLU is returned replaced.

    Functional calls (torch.relu, F.relu, x.relu_()) are not covered: sugar_search.convert does that.
    """
    if _is_relu(model):
        return SugarReLU(model.inplace).train(model.training)
    new: dict[torch.nn.Module, torch.nn.Module] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and _is_relu(child):
                # A module shared by several parents stays shared.
                parent.register_module(name, new.setdefault(child, SugarReLU(child.inplace).train(child.training)))
    if not new:
        raise ValueError("the model holds no nn.ReLU module; for functional calls (F.relu) use sugar_search.convert")
    return model


# <points>
# (x, derivative at x), computed with 50 digits; float64, float32, bfloat16 and float16 all hold these x exactly.
POINTS = (
    (-1.0, 0.0),
    (0.0, 0.0),
    (1.0, 1.0),
)
# </points>

# <tolerance>
# Largest error over the largest |derivative|.
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 1e-6,
    torch.bfloat16: 4e-3,
    torch.float16: 5e-4,
}
# </tolerance>


def self_check() -> str:
    """Compares this file with ReLU, bit for bit, and with POINTS.

    Returns:
        One line with the worst error in each type.

    Raises:
        RuntimeError: something differs.
    """
    activation = SugarReLU()
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
        x = x[~torch.isnan(x)].requires_grad_()
        y = activation(x)
        if not torch.equal(y.detach().view(torch.int16), torch.relu(x.detach()).view(torch.int16)):
            raise RuntimeError(f"the forward differs from torch.relu in {dtype}")
        (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
        if torch.isnan(gradient).any():
            raise RuntimeError(f"a gradient is NaN in {dtype}")
    wanted = torch.tensor([g for _, g in POINTS], dtype=torch.float64)
    worst = []
    for dtype, tolerance in TOLERANCE.items():
        x = torch.tensor([x for x, _ in POINTS], dtype=dtype, requires_grad=True)
        (gradient,) = torch.autograd.grad(activation(x), x, torch.ones_like(x))
        error = float((gradient.double() - wanted).abs().max() / wanted.abs().max())
        name = str(dtype).removeprefix("torch.")
        if not error <= tolerance:
            raise RuntimeError(f"the gradient in {name} is off by {error:.1e} of its maximum, over {tolerance:.1e}")
        worst.append(f"{name} {error:.1e}")
    return f"forward equal to torch.relu; worst gradient error over its maximum: {', '.join(worst)}"


if __name__ == "__main__":
    try:
        print("self-check passed:", self_check())
    except RuntimeError as failure:
        sys.exit(f"self-check failed: {failure}")
