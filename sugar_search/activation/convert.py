"""Swaps a model's activations for ones with a surrogate gradient, and reports where they are."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from sugar_search.activation.conversion_report import nothing_found, report, report_leftover
from sugar_search.activation.eligible import told
from sugar_search.activation.intercept import (
    Injected,
    Injection,
    activations_of,
    conversion_of,
    converted_class,
    original_class,
)
from sugar_search.activation.kinds import KINDS, check_kinds
from sugar_search.activation.leftover import leftover_of_copy
from sugar_search.activation.module import Memory, Method, SugarReLU
from sugar_search.activation.survey import Part, survey
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["Site", "convert", "sites"]

log = logging.getLogger("sugar_search")

OPTIONS = ("sugar", "method", "memory")


@dataclass(frozen=True)
class Site:
    """One activation in a model.

    Attributes:
        names: dotted names of the module: of the activation itself, or of the module whose code calls it. More than
            one when the model shares it, and ("",) for the model itself.
        kind: what is found there: "ReLU", "GELU", "SiLU", "LeakyReLU", "ReLU6", or "SugarReLU" after a conversion.
        place: "" for a module; for a functional call the code that makes it, "Net.forward (net.py:12)", or the
            attribute that holds the function, "TransformerEncoderLayer.activation".
    """

    names: tuple[str, ...]
    kind: str
    place: str = ""


def sites(model: nn.Module, kinds: str | Iterable[str] = ("relu",)) -> tuple[Site, ...]:
    """The activations of `model` that `convert` replaces or has replaced.

    Functional calls are found in the code, without running it: a call that stands there once counts once for each
    module with that code, however often it runs. Calls whose function is only known at run time are not seen.

    Args:
        model: any module.
        kinds: which kinds: "relu", "gelu", "silu", "leakyrelu", "relu6". A `SugarReLU` counts as the kind it replaced.

    Returns:
        In the order of the model's modules; shared modules count once.

    Raises:
        InputError: an unknown kind.
    """
    wanted = check_kinds(kinds)
    return tuple(
        Site(part.names, "SugarReLU" if part.converted else KINDS[part.kind].title, part.place)
        for part in survey(model)
        if part.kind in wanted and not part.obstacle
    )


def convert(
    model: nn.Module,
    surrogate: str | Surrogate,
    *,
    sites: str | Iterable[str] = ("relu",),
    region: str = "all",
    sugar: bool = True,
    method: Method = "auto",
    memory: Memory = "exact",
    example: Any = None,
    **parameters: float,
) -> nn.Module:
    """Gives the activations of `model` the gradient of a surrogate, in place: modules and functional calls.

    A module such as `nn.ReLU` is replaced by a `SugarReLU`; one shared by several parents stays shared, and the new
    module takes over the hooks registered on the old one. A module whose code calls `F.relu`, `torch.relu`,
    `x.relu_()` and the like gets a subclass of its class, in which these calls are intercepted. In-place activations
    stay in place. Parameters and buffers are untouched, so checkpoints and optimizers stay valid. A model may be
    converted again; each site keeps the kind that it first had.

    Activations of another kind than ReLU compute ReLU afterwards (or the surrogate's activation, without `sugar`);
    a warning says so.

    Calls are found by reading code, which cannot see all that Python allows; `example` has the result checked by a run.
    `torch.compile` keeps the surrogate, and so does a graph that `torch.export` takes of a model in training mode,
    until it is decomposed for inference. One taken in evaluation mode, by `torch.fx` or by `torch.jit` holds the plain
    operators: training it would use the activations' own gradients.

    A model that is converted again keeps its `SugarReLU` modules where their options stay the same: their tables are
    overwritten, and compiled networks are not compiled again.

    Args:
        model: any module; when it is itself an activation, the new module is returned.
        surrogate: a family, a derivative's formula or a `Surrogate`.
        sites: the kinds of activation to replace: "relu", "gelu", "silu", "leakyrelu", "relu6".
        region: "all", or "negative" for a gradient of 1 where x > 0.
        sugar: False runs the surrogate's own activation forward too.
        method: how the gradient is computed, as in `SugarReLU`.
        memory: what is kept for the backward pass, as in `SugarReLU`. With "recompute" the report says how many sites
            follow a batch norm, where nothing need be kept.
        example: inputs of the model, a tensor or a tuple; copies of the model are run on them before and after, and a
            warning tells how many calls stay plain.
        **parameters: of the family or the formula.

    Returns:
        `model`, or its replacement.

    Raises:
        InputError: the surrogate or an option is invalid, a class cannot be changed, or no site was found. The model is
            then unchanged, as it is when it cannot run on the example.
    """
    wanted = check_kinds(sites)
    values: dict[str, Any] = dict(parameters)
    template = SugarReLU(surrogate, region=region, sugar=sugar, method=method, memory=memory, **values)
    parts = survey(model)
    blocked = [part for part in parts if part.kind in wanted and part.obstacle]
    chosen = [part for part in parts if part.kind in wanted and not part.obstacle]
    others = [part for part in parts if part.kind not in wanted and not part.obstacle]
    if not chosen:
        raise nothing_found(model, wanted, blocked, others)
    eligible = told(model, wanted, example) if memory == "recompute" else ""
    injections = {kind: Injection(kind, template.surrogate, sugar, method, memory) for kind in wanted}
    new = _new_modules(chosen, template)
    classes = _new_classes(chosen, injections)
    if example is not None:
        leftover_of_copy(model, example, wanted)
    # After the classes nothing can fail, so the model is converted as a whole or not at all.
    _set_classes(classes)
    for part in chosen:
        for name in part.attributes:
            _inject(part, name, injections[part.kind])
    _replace_children(model, new)
    for part in chosen:
        if isinstance(part.module, SugarReLU) and part.module not in new:
            part.module.use(template.surrogate)
    _place(model, [new.get(part.module, part.module) for part in chosen])
    report(template, chosen, blocked, others)
    if eligible:
        log.info("memory=recompute: %s", eligible)
    result = new.get(model) or model
    if example is not None:
        report_leftover(leftover_of_copy(result, example, wanted))
    return result


def _new_modules(parts: Sequence[Part], template: SugarReLU) -> dict[nn.Module, SugarReLU]:
    """The replacement of each activation module."""
    new = {}
    for part in parts:
        if not part.place:
            old = part.module
            if isinstance(old, SugarReLU) and all(getattr(old, o) == getattr(template, o) for o in OPTIONS):
                continue  # it takes the new surrogate where it is
            module = template.like(kind=part.kind, inplace=getattr(old, "inplace", False)).train(old.training)
            # The tables themselves, so that the handles of the hooks go on working.
            module.__dict__ |= {name: value for name, value in vars(old).items() if "_hook" in name}
            new[old] = module
    return new


def _new_classes(parts: Sequence[Part], injections: dict[str, Injection]) -> dict[nn.Module, type[nn.Module]]:
    """The class of each module whose methods hold calls; earlier conversions of other kinds are kept."""
    methods: dict[nn.Module, dict[str, None]] = {}
    kinds: dict[nn.Module, dict[str, Injection]] = {}
    for part in parts:
        if not part.methods:
            continue
        before = conversion_of(part.module)
        if part.module not in methods:
            methods[part.module] = dict.fromkeys(before.methods if before is not None else ())
            kinds[part.module] = {i.kind: i for i in before.injections} if before is not None else {}
        methods[part.module] |= dict.fromkeys(part.methods)
        kinds[part.module][part.kind] = injections[part.kind]
    return {
        module: converted_class(original_class(module), tuple(names), tuple(kinds[module].values()))
        for module, names in methods.items()
    }


def _set_classes(classes: dict[nn.Module, type[nn.Module]]) -> None:
    """Gives every module its class, or none of them.

    Raises:
        InputError: an object does not allow it.
    """
    before = {module: type(module) for module in classes}
    done: list[nn.Module] = []
    try:
        for module, cls in classes.items():
            # Past a __setattr__ of the user's.
            object.__setattr__(module, "__class__", cls)
            done.append(module)
    except TypeError as error:
        for changed in done:
            object.__setattr__(changed, "__class__", before[changed])
        rule = f"a module with functional activation calls must allow another class ({error})"
        raise InputError(rule, type(module).__name__, "give it activation modules such as nn.ReLU()") from error


def _inject(part: Part, name: str, injection: Injection) -> None:
    """Puts the function kept in the attribute `name` behind a mode."""
    attributes = vars(part.module)
    old = attributes[name]
    function, known = (old.function, old.injections) if isinstance(old, Injected) else (old, ())
    merged = {i.kind: i for i in known} | {part.kind: injection}
    # Past nn.Module.__setattr__, which a module may have overridden.
    attributes[name] = Injected(function, tuple(merged.values()))
    _leave_fast_path(part.module, part.kind, injection.sugar)


def _leave_fast_path(module: nn.Module, kind: str, sugar: bool) -> None:
    """A transformer layer's fused inference path would go on computing the activation that was there."""
    if isinstance(module, nn.TransformerEncoderLayer) and (kind != "relu" or not sugar):
        module.activation_relu_or_gelu = 0


def _replace_children(model: nn.Module, new: dict[nn.Module, SugarReLU]) -> None:
    """Puts the new modules in place; each old module has one new module wherever it appears."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in new:
                # Past register_module and __setattr__, which a module may have overridden.
                parent._modules[name] = new[child]
                _leave_fast_path(parent, new[child].kind, new[child].sugar)


def _place(model: nn.Module, sites: Sequence[nn.Module]) -> None:
    """Puts the tables of `sites` where the model lies, so that no compiled network copies them at each call."""
    devices = list(dict.fromkeys(tensor.device for tensor in (*model.parameters(), *model.buffers())))
    for site in sites:
        if isinstance(site, SugarReLU) and devices:
            site.to(devices[0])
        for activation in (site,) if isinstance(site, SugarReLU) else activations_of(site):
            for device in devices:
                activation.hold(device)
