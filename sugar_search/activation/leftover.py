"""Counts the plain activations that a run of a model really makes, read from the graph that autograd records.

Where `convert` reads code, this looks at what happened, so it sees whatever the reading missed.
"""

import contextlib
import copy
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sugar_search.activation.kinds import check_kinds

__all__ = ["kind_of_backward", "leftover", "leftover_of_copy", "nodes_behind", "tensors_in", "tracked", "uncompiled"]

# What autograd calls the backward of each activation; the names of surrogates are those of their own classes.
_NODES: dict[str, str] = {
    "ReluBackward": "relu",
    "GeluBackward": "gelu",
    "SiluBackward": "silu",
    "LeakyReluBackward": "leakyrelu",
    "HardtanhBackward": "relu6",
}


def leftover(model: nn.Module, *inputs: Any, sites: str | Iterable[str] = ("relu",)) -> dict[str, int]:
    """Runs `model` once and counts the activations that have their own gradient, not a surrogate's.

    A call counts as often as it runs. What lies in code without gradients, in a reentrant checkpoint, in TorchScript or
    in `nn.RNN` is not seen, nor is ReLU spelled as `clamp(min=0)`. A compiled model runs uncompiled.

    The model runs as it is, in its present mode: batch statistics and random numbers move on, so give a copy and keep
    the generator's state where that matters.

    Args:
        model: any module, converted or not.
        *inputs: what its forward takes; tensors are not changed.
        sites: the kinds to count: "relu", "gelu", "silu", "leakyrelu", "relu6".

    Returns:
        The number of calls of each kind; kinds without any are left out, so {} means that nothing is left.

    Raises:
        InputError: an unknown kind.
    """
    wanted = check_kinds(sites)
    with torch.enable_grad(), uncompiled():
        output = model(*[tracked(x) for x in inputs])
    counts = Counter(kind for node in nodes_behind(tensors_in(output)) if (kind := kind_of_backward(node)) in wanted)
    return {kind: counts[kind] for kind in wanted if counts[kind]}


def leftover_of_copy(model: nn.Module, inputs: Any, sites: Iterable[str]) -> dict[str, int]:
    """`leftover` of a copy of `model`, which leaves the model's state and the random numbers alone.

    Args:
        model: any module that can be copied.
        inputs: what its forward takes: a tuple of it, or one tensor.
        sites: the kinds to count.

    Returns:
        As `leftover`.
    """
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(sorted(devices)):
        return leftover(copy.deepcopy(model), *given, sites=sites)


def tracked(x: Any) -> Any:
    """A copy that autograd follows from the start; one that may be written, which a leaf may not."""
    if isinstance(x, Tensor):
        floating = x.is_floating_point() or x.is_complex()
        return x.detach().requires_grad_().clone() if floating else x.clone()
    if isinstance(x, list | tuple) and type(x) in (list, tuple):
        return type(x)(tracked(part) for part in x)
    return {key: tracked(part) for key, part in x.items()} if type(x) is dict else x


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Compiled graphs are one node of autograd; importing the compiler only to find it unused would take a second."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from (tensor for part in value.values() for tensor in tensors_in(part))
    elif isinstance(value, list | tuple | set):
        yield from (tensor for part in value for tensor in tensors_in(part))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from (tensor for field in fields(value) for tensor in tensors_in(getattr(value, field.name)))


def nodes_behind(tensors: Iterable[Tensor]) -> Iterator[Any]:
    """Every node of the graph behind `tensors`, once."""
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        yield node
        new = {following for following, _ in node.next_functions if following is not None} - seen
        seen |= new
        waiting += new


def kind_of_backward(node: Any) -> str | None:
    """The kind of activation that a node differentiates, or None."""
    kind = _NODES.get(node.name().rstrip("0123456789"))
    if kind == "relu6" and (node._saved_min_val, node._saved_max_val) != (0, 6):
        return None
    return kind
