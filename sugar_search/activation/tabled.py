"""ReLU forward, a table backward: one compiled program for every surrogate, since the table is a tensor like x.

The same rules hold as in `function`: the forward is the operator ReLU, second derivatives raise, and `torch.compile`
breaks the graph rather than differentiate plain ReLU inside a function transform. `vmap` over both x and the table
gives every member of a batch its own surrogate.
"""

from typing import Any

import torch
from torch import Tensor

from sugar_search.activation.kernels import operators
from sugar_search.activation.transforms import no_second_derivative, transformed

__all__ = ["coded_relu", "new_seed", "once", "table_relu"]

Dims = tuple[int | None, ...]


def _in_front(value: Tensor, dim: int | None, size: int) -> Tensor:
    """`value` with its batch dimension first, where it has one; else repeated without a copy."""
    return value.expand(size, *value.shape) if dim is None else value.movedim(dim, 0)


def _merged(words: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    """Batched tables (size, ..., WORDS) as (members, WORDS), and values (size, members, ...) as (members, ...)."""
    if words.dim() == 2:
        return (words, *values)
    leading = words.shape[:-1]
    return (words.reshape(-1, words.shape[-1]), *(v.reshape(-1, *v.shape[len(leading) :]) for v in values))


class _Once(torch.autograd.Function):
    """`grad * g(x)` as a Function that has no derivative itself.

    `once_differentiable` is not enough: under `torch.func.grad(torch.func.grad(...))` it silently gives zeros.
    """

    @staticmethod
    def forward(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
        return operators.backward(grad, x, words)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise no_second_derivative()

    @staticmethod
    def vmap(info: Any, in_dims: Dims, grad: Tensor, x: Tensor, words: Tensor) -> tuple[Tensor, int]:
        size = info.batch_size
        grad, x = _in_front(grad, in_dims[0], size), _in_front(x, in_dims[1], size)
        if in_dims[2] is None and words.dim() == 1:
            return _Once.apply(grad, x, words), 0
        words, flat_grad, flat_x = _merged(_in_front(words, in_dims[2], size), grad, x)
        return _Once.apply(flat_grad, flat_x, words).reshape(x.shape), 0


def once(grad: Tensor, x: Tensor, words: Tensor) -> Tensor:
    """`grad * g(x)` in a backward pass; a derivative of it raises."""
    # Dynamo cannot trace a Function inside a backward; compiled graphs refuse second derivatives themselves.
    if torch.compiler.is_compiling():
        return operators.backward(grad, x, words)
    result: Tensor = _Once.apply(grad, x, words) if _watched() else operators.backward_at_once(grad, x, words)
    return result


def _watched() -> bool:
    """Whether something may differentiate or batch what is computed now."""
    return torch.is_grad_enabled() or transformed()


class _EagerTableReLU(torch.autograd.Function):
    # The old form of a Function: with `setup_context` torch reads the signature at each call, which takes 25 us.
    @staticmethod
    def forward(ctx: Any, x: Tensor, words: Tensor) -> Tensor:
        ctx.save_for_backward(x, words)
        return operators.relu(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, words = ctx.saved_tensors
        return once(grad, x, words), None


class _TableReLU(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, words: Tensor) -> Tensor:
        return torch.ops.aten.relu.default(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return once(grad, *ctx.saved_tensors), None

    @staticmethod
    def vmap(info: Any, in_dims: Dims, x: Tensor, words: Tensor) -> tuple[Tensor, int]:
        x = _in_front(x, in_dims[0], info.batch_size)
        if in_dims[1] is None and words.dim() == 1:
            return _TableReLU.apply(x, words), 0
        words, flat = _merged(_in_front(words, in_dims[1], info.batch_size), x)
        return _TableReLU.apply(flat, words).reshape(x.shape), 0


class _TableReLUInPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, words: Tensor) -> Tensor:
        ctx.save_for_backward(x.clone(), words)
        ctx.mark_dirty(x)
        return torch.ops.aten.relu_.default(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return once(grad, *ctx.saved_tensors), None


class _OnceDecoded(torch.autograd.Function):
    """`grad * decoded g` as a Function that has no derivative itself."""

    @staticmethod
    def forward(grad: Tensor, codes: Tensor, words: Tensor, bits: int, stride: tuple[int, ...]) -> Tensor:
        return operators.decode(grad, codes, words, bits, stride)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise no_second_derivative()

    @staticmethod
    def vmap(info: Any, in_dims: Dims, *inputs: Any) -> Any:
        raise RuntimeError('a batch of gradients needs memory="exact": codes belong to one backward pass')


class _CodedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, words: Tensor, seed: Tensor, bits: int, inplace: bool) -> Tensor:
        encode = operators.relu_encode if torch.compiler.is_compiling() else operators.relu_encode_at_once
        y, codes = encode(x, words, seed, bits)
        ctx.save_for_backward(codes, words)
        # Codes lie in the memory order of y, which is not that of x where x has gaps.
        ctx.bits, ctx.strides = bits, y.stride()
        if inplace:
            ctx.mark_dirty(x)
            return x.copy_(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        codes, words = ctx.saved_tensors
        decode: Any
        if torch.compiler.is_compiling():  # as in `once`
            decode = operators.decode
        else:
            decode = _OnceDecoded.apply if _watched() else operators.decode_at_once
        return decode(grad, codes, words, ctx.bits, ctx.strides), None, None, None, None


def _apply(x: Tensor, words: Tensor) -> Tensor:
    return _TableReLU.apply(x, words)


def table_relu(x: Tensor, words: Tensor, inplace: bool = False) -> Tensor:
    """ReLU of x whose gradient is read from a table.

    Args:
        x: any shape, device and floating type; with tables of several members, their number is the first dimension.
        words: int32 of shape (WORDS,), or (members, WORDS), on the device of x.
        inplace: overwrite x and return it; a copy of it is saved.
    """
    if inplace:
        if torch.compiler.is_dynamo_compiling() or transformed():
            # Neither takes a Function that writes its input; the compiler removes these copies.
            return x.copy_(table_relu(x.clone(), words))
        if not (x.requires_grad and torch.is_grad_enabled()):
            return torch.ops.aten.relu_.default(x)
        return _TableReLUInPlace.apply(x, words)
    compiling, inside = torch.compiler.is_dynamo_compiling(), transformed()
    if not inside and not (x.requires_grad and torch.is_grad_enabled()):
        return torch.ops.aten.relu.default(x)
    if compiling and inside:
        # Inside transforms Dynamo inlines the forward and would silently differentiate plain ReLU (see `function`).
        return torch.compiler.disable(_apply)(x, words)
    return (_TableReLU if compiling or inside else _EagerTableReLU).apply(x, words)


def new_seed(device: torch.device) -> Tensor:
    """One int64 of torch's generator, on `device`, so that nothing waits for a GPU."""
    return torch.randint(2**63 - 1, (1,), device=device)


def coded_relu(x: Tensor, words: Tensor, bits: int, inplace: bool = False) -> Tensor:
    """`table_relu` that saves a code of `bits` bits for each element instead of x.

    The code is g(x) between the table's low and high, rounded up or down at random so that its mean is g(x). Under
    function transforms x is saved, as a code belongs to one backward pass.

    Args:
        x: any shape, device and floating type.
        words: int32 of shape (WORDS,), on the device of x.
        bits: 4 or 8.
        inplace: overwrite x and return it.
    """
    if transformed() or not (torch.is_grad_enabled() and x.requires_grad):
        return table_relu(x, words, inplace)
    if inplace and torch.compiler.is_dynamo_compiling():
        return x.copy_(coded_relu(x.clone(), words, bits))
    return _CodedReLU.apply(x, words, new_seed(x.device), bits, inplace)
