"""Swaps a model's ReLU modules for `SugarReLU`, and reports where they are."""

import logging
from dataclasses import dataclass

from torch import nn

from sugar_search.activation.module import Method, SugarReLU
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["Site", "convert", "sites"]

log = logging.getLogger("sugar_search")


@dataclass(frozen=True)
class Site:
    """One activation in a model.

    Attributes:
        names: its dotted names; more than one when the model shares the module, and ("",) for the model itself.
        kind: the class found there, "ReLU" or "SugarReLU".
    """

    names: tuple[str, ...]
    kind: str


def sites(model: nn.Module) -> tuple[Site, ...]:
    """The ReLU and SugarReLU modules of `model`, in the order of their first names; shared ones count once."""
    found: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if _is_site(module):
            found.setdefault(module, []).append(name)
    return tuple(Site(tuple(names), "SugarReLU" if isinstance(m, SugarReLU) else "ReLU") for m, names in found.items())


def convert(
    model: nn.Module,
    surrogate: str | Surrogate,
    *,
    region: str = "all",
    sugar: bool = True,
    method: Method = "exact",
    **parameters: float,
) -> nn.Module:
    """Replaces every `nn.ReLU` and `SugarReLU` of `model`, in place.

    In-place ReLUs are replaced too; the replacement writes a new tensor, so a model that reads the input again after an
    in-place ReLU sees its negative values. A module shared by several parents stays shared. Parameters and buffers are
    untouched, so checkpoints and optimizers stay valid. Hooks registered on a replaced module go with it.

    Args:
        model: any module; when it is itself a ReLU, the new module is returned.
        surrogate: a family, a derivative's formula or a `Surrogate`.
        region: "all", or "negative" for a gradient of 1 where x > 0.
        sugar: False runs the surrogate's own activation forward too.
        method: "exact", or the paper's literal "indirect" and "direct" forms.
        **parameters: of the family or the formula.

    Returns:
        `model`, or its replacement.

    Raises:
        InputError: the surrogate or an option is invalid, or no site was found. The model is then unchanged.
    """
    template = SugarReLU(surrogate, region=region, sugar=sugar, method=method, **parameters)
    found = sites(model)
    if not found:
        raise InputError(
            "a model to convert must hold nn.ReLU modules",
            type(model).__name__,
            "use nn.ReLU() in its __init__; functional calls (torch.relu, F.relu) are not seen yet",
        )
    converted = _replacement(model, template) if _is_site(model) else _replace_children(model, template)
    log.info("converted %d ReLU site%s to %s", len(found), "" if len(found) == 1 else "s", template.surrogate.title)
    return converted


def _is_site(module: nn.Module) -> bool:
    """Whether `module` computes ReLU: a subclass with a forward of its own does not count."""
    return isinstance(module, SugarReLU) or (isinstance(module, nn.ReLU) and type(module).forward is nn.ReLU.forward)


def _replacement(old: nn.Module, template: SugarReLU) -> SugarReLU:
    return template.like().train(old.training)


def _replace_children(model: nn.Module, template: SugarReLU) -> nn.Module:
    """Replaces the sites below `model`; each old module has one new module wherever it appears."""
    new: dict[nn.Module, SugarReLU] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is None or not _is_site(child):
                continue
            if child not in new:
                new[child] = _replacement(child, template)
            parent.register_module(name, new[child])
    return model
