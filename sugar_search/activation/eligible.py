"""Counts the activations whose input is a batch norm's output, where `memory="recompute"` saves nothing.

Two ways, for a model that is not converted: its graph by torch.fx, without running it, and the graph that autograd
records in a run.
"""

import copy
import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sugar_search.activation.kinds import FUNCTIONS, METHODS, check_kinds, kind_of
from sugar_search.activation.leftover import kind_of_backward, nodes_behind, tensors_in, tracked, uncompiled
from sugar_search.activation.recompute import recomputable

__all__ = ["Eligible", "eligible_in_run", "eligible_sites", "told"]

log = logging.getLogger("sugar_search")


class Eligible(NamedTuple):
    """How many calls of activations follow a batch norm directly, and how many there are."""

    eligible: int
    total: int


class _Tracer(fx.Tracer):
    """Looks into everything but batch norms and activations."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _BatchNorm) or kind_of(m) is not None or super().is_leaf_module(m, module_qualified_name)


def eligible_sites(model: nn.Module, sites: str | Iterable[str] = ("relu",)) -> Eligible | None:
    """Counts the calls in the graph that torch.fx traces; a module called twice counts twice.

    The model's code runs on a copy that shares its parameters, with symbols in place of tensors.

    Args:
        model: any module, not converted.
        sites: the kinds of activation: "relu", "gelu", "silu", "leakyrelu", "relu6".

    Returns:
        The counts; None where the model cannot be copied or traced.

    Raises:
        InputError: an unknown kind.
    """
    wanted = check_kinds(sites)
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        copied = copy.deepcopy(model, shared)
        graph = _Tracer().trace(copied)
    except Exception as error:
        # Foreign code with symbols for tensors can raise anything.
        log.debug("torch.fx cannot trace %s: %s", type(model).__name__, error)
        return None
    modules = dict(copied.named_modules())
    found = [_follows_norm(node, modules) for node in graph.nodes if _kind_of_node(node, modules) in wanted]
    return Eligible(sum(found), len(found))


def eligible_in_run(model: nn.Module, *inputs: Any, sites: str | Iterable[str] = ("relu",)) -> Eligible:
    """Runs a copy of `model` once and counts; a call counts as often as it runs, as in `leftover`.

    Args:
        model: any module that can be copied, not converted.
        *inputs: what its forward takes; tensors are not changed.
        sites: the kinds of activation, as in `eligible_sites`.

    Raises:
        InputError: an unknown kind.
    """
    wanted = check_kinds(sites)
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(sorted(devices)), torch.enable_grad(), uncompiled():
        output = copy.deepcopy(model)(*[tracked(x) for x in inputs])
    nodes = [node for node in nodes_behind(tensors_in(output)) if kind_of_backward(node) in wanted]
    return Eligible(sum(recomputable(node.next_functions[0][0]) for node in nodes), len(nodes))


def told(model: nn.Module, kinds: Sequence[str], example: Any = None) -> str:
    """How many sites keep nothing for the backward pass, as a clause.

    Args:
        model: any module, not converted.
        kinds: of activation.
        example: inputs for a run, a tensor or a tuple; None to trace without one.
    """
    if example is None:
        found = eligible_sites(model, kinds)
    else:
        found = eligible_in_run(model, *(example if isinstance(example, tuple) else (example,)), sites=kinds)
    if found is None or not found.total:
        return "sites that follow a batch norm keep nothing; how many only a run of the plain model can tell"
    return f"{found.eligible} of {found.total} plain sites follow a batch norm and keep nothing, the others their input"


def _is_norm(module: nn.Module) -> bool:
    """Whether `module` is a batch norm of torch, with the forward of torch."""
    return isinstance(module, _BatchNorm) and type(module).forward is nn.BatchNorm2d.forward


def _kind_of_node(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """The kind of activation that a node computes, or None."""
    if node.op == "call_module":
        return kind_of(modules[str(node.target)])
    if node.op == "call_function" and callable(node.target) and node.target in FUNCTIONS:
        function = FUNCTIONS[node.target]
        given = {**dict(zip(function.arguments, node.args)), **node.kwargs}
        return function.kind if all(given.get(name) == value for name, value in function.needs) else None
    return METHODS.get(str(node.target)) if node.op == "call_method" else None


def _follows_norm(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether the input of `node` is the output of a batch norm with a trained bias, and nothing wrote it before."""
    inputs = node.all_input_nodes
    if len(inputs) != 1 or inputs[0].op != "call_module":
        return False
    norm = modules[str(inputs[0].target)]
    if not _is_norm(norm) or (bias := norm._parameters.get("bias")) is None or not bias.requires_grad:
        return False
    # The first to use it, in order: what came before may have written it.
    return next(iter(inputs[0].users)) is node
