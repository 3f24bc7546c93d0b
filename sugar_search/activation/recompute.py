"""ReLU after a batch norm: its input is not saved but computed again, so the surrogate costs no memory there.

The backward needs the activation's input x. Where x is the unchanged output of a batch norm, the norm's own node in the
graph holds all that x was made of: `source_of` reads it from there, and in the backward the same operator runs again,
which gives x bit for bit; the normalization written out would differ in the last bits. The running statistics stay as
they are. Nothing is registered on the norms, so copies, checkpoints and compiled models know nothing of it.

x is saved as usual where this is not certain: after `SyncBatchNorm`, whose statistics come from other processes; after
a norm whose bias gets no gradient, for the graph does not hold that bias; where the output was written, viewed or added
to; and in whatever runs compiled, inside function transforms, or where hooks on saved tensors are active (non-reentrant
checkpoints, offloading), since these may hold the norm's input elsewhere.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sugar_search.activation.tabled import once
from sugar_search.activation.transforms import transformed

__all__ = ["Norm", "Source", "recomputable", "recomputed_relu", "rerun", "source_of"]

# The nodes of a batch norm, and whether it ran in a vendor's library (cuDNN, MIOpen).
_NODES = {"NativeBatchNormBackward0": False, "CudnnBatchNormBackward0": True, "MiopenBatchNormBackward0": True}

Saved = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


class Norm(NamedTuple):
    """How a batch norm ran, apart from its tensors.

    Attributes:
        training: whether it used the statistics of the batch.
        eps: added to the variance.
        library: whether a vendor's library may run it.
        statistics: the type of the running statistics that it updated, or None.
    """

    training: bool
    eps: float
    library: bool
    statistics: torch.dtype | None


class Source(NamedTuple):
    """What gives an output of a batch norm again.

    Attributes:
        tensors: input, weight, bias, and outside training running mean and variance. The graph and the module hold
            them already, except the last two, which are copies of a few values: a later pass in training mode changes
            the module's own without a trace.
        norm: the rest.
    """

    tensors: Saved
    norm: Norm


def recomputable(node: Any | None) -> bool:
    """Whether `node` of the graph is a batch norm's that holds all it takes to run again, the bias among it."""
    if node is None or node.name() not in _NODES:
        return False
    # With a gradient, the bias is held by the node that accumulates it; without, nothing tells it from no bias at all.
    bias = node.next_functions[2][0]
    return bias is not None and bias.name() == "torch::autograd::AccumulateGrad"


def source_of(x: Tensor) -> Source | None:
    """What `x` can be computed from again, or None where it must be saved.

    Args:
        x: the input of an activation.
    """
    if torch.compiler.is_compiling() or transformed() or not torch.is_grad_enabled():
        return None
    if torch.jit.is_tracing():  # type: ignore[attr-defined]
        return None
    if torch._C._autograd._top_saved_tensors_default_hooks(True) is not None:
        return None
    node: Any = x.grad_fn
    # Version 0: never written. Views and changed copies have nodes of their own.
    if not recomputable(node) or type(x) is not Tensor or x._version:
        return None
    library, bias = _NODES[node.name()], node.next_functions[2][0].variable
    try:
        values, weight, mean, var = (
            getattr(node, f"_saved_{name}") for name in ("input", "weight", "running_mean", "running_var")
        )
    except RuntimeError:
        # Freed by a backward, or changed since: the norm's own backward will say so.
        return None
    eps = node._saved_epsilon if library else node._saved_eps
    training, statistics = node._saved_training, None if mean is None else mean.dtype
    if training:
        mean = var = None
    elif mean is not None:
        mean, var = mean.clone(), var.clone()
    return Source((values, weight, bias, mean, var), Norm(training, eps, library, statistics))


def rerun(tensors: Sequence[Any], norm: Norm) -> Tensor:
    """The batch norm's output again, bit for bit.

    Where gradients are recorded, as in a backward with `create_graph`, it depends on the tensors. The last bits can
    change with the number of threads, as sums over a batch are cut by threads.

    Args:
        tensors: as in `Source`.
        norm: as in `Source`.
    """
    values, weight, bias, mean, var = tensors
    if norm.training and norm.statistics is not None:
        # Their type decides how the operator computes; their values do not enter, and what it writes is dropped.
        mean, var = torch.zeros((2, values.shape[1]), dtype=norm.statistics, device=values.device)
    # No cast of autocast applies to this operator.
    return torch.batch_norm(values, weight, bias, mean, var, norm.training, 0.0, norm.eps, norm.library)


class _RecomputedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, words: Tensor, source: Source, inplace: bool) -> Tensor:
        ctx.save_for_backward(words, *source.tensors)
        ctx.norm = source.norm
        if inplace:
            ctx.mark_dirty(x)
            return torch.ops.aten.relu_.default(x)
        return torch.ops.aten.relu.default(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        words, *tensors = ctx.saved_tensors
        x = rerun(tensors, ctx.norm)
        return once(grad, x, words), None, None, None


def recomputed_relu(x: Tensor, words: Tensor, source: Source, inplace: bool = False) -> Tensor:
    """ReLU of x, whose gradient is read from a table at x computed again; nothing is saved but what is kept anyway.

    A tensor of the norm that was written between forward and backward (its weight, by an optimizer) raises an error.

    Args:
        x: the output of a batch norm, unchanged.
        words: int32 (WORDS,), the table, on the device of x.
        source: of x, by `source_of`.
        inplace: overwrite x and return it, without a copy.
    """
    return _RecomputedReLU.apply(x, words, source, inplace)
