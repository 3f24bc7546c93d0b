"""Networks that a callable of the user builds: `--arch package.module:callable`.

The callable gets those of `input_shape`, `outputs`, `num_classes` (the same number), `in_channels` and `in_chans` that
its signature names. With `**kwargs` and neither `outputs` nor `num_classes` it gets `num_classes`, as torchvision's and
timm's builders take it. Two other required parameters are taken for the shape and the outputs, in this order; a
callable without parameters is called as it is. It must build a new network at each call.
"""

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sugar_search.catalog import load_callable
from sugar_search.errors import InputError
from sugar_search.vision import load

if TYPE_CHECKING:
    from torch import nn

__all__ = ["find_builder"]

OFFERED = "input_shape, outputs, num_classes, in_channels, in_chans"

_built: "WeakSet[nn.Module]" = WeakSet()


def find_builder(text: str) -> "Callable[[tuple[int, ...], int], nn.Module]":
    """A function of the input shape and the outputs that builds the network which `text` names.

    Args:
        text: "package.module:callable"; torchvision and timm load here, and in the user's module, as `vision` has it.

    Raises:
        InputError: the text is no reference, its module cannot be imported, or it names no builder of networks.
    """
    function = _mended(lambda: load_callable(text, "arch"))
    from torch import nn

    if isinstance(function, nn.Module):
        rule = "arch must name a function or class that builds a network, not a network"
        raise InputError(rule, text, "write a function that returns a new one")

    def build(input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        positional, keywords = _arguments(text, function, input_shape, outputs)
        try:
            model = _mended(lambda: function(*positional, **keywords))
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            given = ", ".join([*map(str, positional), *(f"{name}={value}" for name, value in keywords.items())])
            rule = f"arch {text} must build a network ({_said(error)})"
            raise InputError(rule, given, "mend it; these were its arguments") from error
        if not isinstance(model, nn.Module):
            raise InputError(f"arch {text} must return a torch.nn.Module", model, "return the network")
        if model in _built:
            # A second run would start from the weights of the first.
            raise InputError(
                f"arch {text} must build a new network at each call", "the same one again", "build it inside"
            )
        _built.add(model)
        _try(text, model, input_shape, outputs)
        return model

    return build


def _mended(call: Callable[[], Any]) -> Any:
    """`call()`, and again with torchvision mended where its import within the call lacked operators."""
    try:
        return call()
    except (RuntimeError, InputError) as error:
        if "torchvision::nms" not in str(error):
            raise
    load("torchvision")
    return call()


def _said(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {line[:200]}"


def _arguments(
    text: str, function: Callable[..., Any], input_shape: tuple[int, ...], outputs: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the callable is called with, from its signature alone.

    Raises:
        InputError: a required parameter is none of those offered.
    """
    channels = {"in_channels": input_shape[0], "in_chans": input_shape[0]}
    offered: dict[str, Any] = {"input_shape": input_shape, "outputs": outputs, "num_classes": outputs, **channels}
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    except (TypeError, ValueError):  # some compiled callables have none
        return (input_shape, outputs), {}
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    unknown: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name not in offered:
            if parameter.default is parameter.empty:
                unknown.append(parameter)
            elif parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(parameter.default)
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(offered[name])
        else:
            keywords[name] = offered[name]
    if unknown:
        if len(unknown) == 2 and not positional and not keywords and all(p.kind is not p.KEYWORD_ONLY for p in unknown):
            return (input_shape, outputs), {}
        required = ", ".join(p.name for p in unknown)
        raise InputError(f"arch {text} may require only {OFFERED}", required, "give the others defaults")
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        if not positional and not {"outputs", "num_classes"} & set(keywords):
            keywords["num_classes"] = outputs
        if text.partition(".")[0].partition(":")[0] == "timm":
            keywords.setdefault("in_chans", input_shape[0])
    return tuple(positional), keywords


def _try(text: str, model: "nn.Module", input_shape: tuple[int, ...], outputs: int) -> None:
    """Passes two samples through a copy of the network in both modes: some answer otherwise while they train.

    Lazy modules take their shapes from a pass of the network itself, and networks that cannot be copied are tried as
    they are. The generators are left alone.

    Raises:
        InputError: the network cannot take the samples, or does not return (batch, outputs).
    """
    import torch

    weights = next(iter(model.parameters()), None)
    if weights is not None and weights.dtype != torch.float32:
        raise InputError(f"arch {text} must have float32 parameters", str(weights.dtype), "leave conversions to us")
    sample = torch.zeros(2, *input_shape, device=None if weights is None else weights.device)
    modes = {module: module.training for module in model.modules()}
    lazy = any(isinstance(each, torch.nn.modules.lazy.LazyModuleMixin) for each in model.modules())
    rule = f"arch {text} must give {outputs} outputs for each sample"
    try:
        if lazy:  # its weights are drawn here, as its author would have it
            with torch.no_grad():
                model.eval()(sample)
        with torch.no_grad(), torch.random.fork_rng(devices=[sample.device] if sample.is_cuda else ()):
            try:
                tried = copy.deepcopy(model)
            except Exception:
                tried = model
            answers = [tried.train(training)(sample) for training in (False, True)]
    except Exception as error:  # the user's network may raise anything
        remedy = "choose a dataset of another shape, or mend it"
        raise InputError(f"{rule} ({_said(error)})", input_shape, remedy) from error
    finally:
        for module, training in modes.items():
            module.training = training
    for answer in answers:
        if not isinstance(answer, torch.Tensor) or tuple(answer.shape) != (2, outputs):
            got = f"shape {tuple(answer.shape)[1:]}" if isinstance(answer, torch.Tensor) else type(answer).__name__
            raise InputError(rule, got, "return one tensor of shape (batch, outputs)")
