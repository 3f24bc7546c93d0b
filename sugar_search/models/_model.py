"""What an architecture is, and how one is built by name.

An architecture is a file of this folder with `build(input_shape, outputs)`. The file may also define `VARIANTS` (names
that follow a slash, the first is the default; `build` then takes `variant`), `SITES` (the kinds of activation that a
surrogate replaces, ReLU by default) and `RECIPE` (what a search on natural images uses when it is given none). Further
keyword-only parameters of `build` are options, which a recipe sets in its table `[arch.NAME]`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from sugar_search import catalog
from sugar_search.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Arch", "build_model", "check_drop_path", "check_image", "find_arch"]


@dataclass(frozen=True)
class Arch:
    """An architecture that can be built.

    Attributes:
        name: its canonical text: "resnet18", "conv2next/tiny", "my_models:build"; a default variant is left out.
        sites: the kinds of activation that a surrogate replaces, as `activation.convert` names them.
        recipe: the recipe for natural images that belongs to it, None where any will do.
        options: names of the options that `build` takes.
        build: `build(input_shape, outputs, **options)`; a new network at each call. `build_model` checks its arguments.
    """

    name: str
    sites: tuple[str, ...]
    recipe: str | None
    options: tuple[str, ...]
    build: "Callable[..., nn.Module]" = field(compare=False)


def find_arch(text: str) -> Arch:
    """The architecture that `text` names; nothing is built.

    Args:
        text: a name of `sugar-search list archs`, where case, hyphens and underscores do not matter, with "/variant"
            where there are any; or a callable of the user as "package.module:callable" (see `_callable`).

    Raises:
        UnknownNameError: there is no such architecture or variant.
        InputError: the architecture has no variants, or the callable cannot be imported.
    """
    if catalog.is_reference(text):
        from sugar_search.models._callable import find_builder

        return Arch(text, ("relu",), None, (), find_builder(text))
    wanted, slash, variant = text.partition("/")
    name = catalog.resolve("archs", wanted)
    module = catalog.load_module("archs", name)
    variants: tuple[str, ...] = getattr(module, "VARIANTS", ())
    build = module.build
    if slash and not variants:
        raise InputError(f"arch {name} has no variants", text, f"give {name}")
    if slash:
        known = {catalog.normal(each): each for each in variants}
        if catalog.normal(variant) not in known:
            raise UnknownNameError.of("arch", text, [f"{name}/{each}" for each in variants])
        variant = known[catalog.normal(variant)]
        build = partial(build, variant=variant)
        # One text for one architecture: "conv2next" and "conv2next/base" are the same study.
        name = name if variant == variants[0] else f"{name}/{variant}"
    options = tuple(_defaults(build))
    return Arch(name, getattr(module, "SITES", ("relu",)), getattr(module, "RECIPE", None), options, build)


def build_model(
    arch: str, input_shape: tuple[int, ...], outputs: int, **options: bool | int | float | str
) -> "nn.Module":
    """The architecture `arch`, freshly initialised from torch's global generator.

    Args:
        arch: see `find_arch`.
        input_shape: shape of one sample, without the batch: (channels, height, width) or (features,).
        outputs: number of classes or of regression targets.
        **options: of the architecture, such as `batch_norm=False` for vgg16.

    Raises:
        UnknownNameError: there is no such architecture or variant.
        InputError: the architecture cannot take `input_shape`, `outputs` or an option, or a callable does not build it.
    """
    found = find_arch(arch)
    if type(outputs) is not int or outputs < 1:
        raise InputError("a model must have 1 or more outputs", outputs, "give the number of classes or targets")
    if not all(type(size) is int for size in input_shape):
        raise InputError("a sample's shape must be whole numbers", tuple(input_shape), "give (3, 32, 32), say")
    _check_options(found, options)
    return found.build(tuple(input_shape), outputs, **options)


def _defaults(build: "Callable[..., nn.Module]") -> dict[str, Any]:
    """The options of `build` and their defaults: its keyword-only parameters other than the variant."""
    parameters = inspect.signature(build).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "variant"}


def _check_options(arch: Arch, options: Mapping[str, Any]) -> None:
    """Refuses options that `arch` lacks, and values of another type than the default's."""
    if not options:
        return
    if not arch.options:
        raise InputError(f"arch {arch.name} takes no options", sorted(options), "drop them")
    defaults = _defaults(arch.build)
    for name, value in options.items():
        if name not in arch.options:
            known = " and ".join(arch.options)
            raise InputError(f"arch {arch.name} has only the options {known}", name, "drop it or mend its spelling")
        kind = type(defaults[name])
        # True is an int in Python, but no share.
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) if kind is float else type(value) is kind
        if not fits:
            word = {bool: "true or false", float: "a number", int: "a whole number"}.get(kind, kind.__name__)
            raise InputError(
                f"option {name} of arch {arch.name} must be {word}", value, f"{defaults[name]} is the default"
            )


def check_image(arch: str, input_shape: tuple[int, ...], minimum: int) -> None:
    """Refuses a sample that is not an image of at least `minimum` x `minimum` pixels.

    Raises:
        InputError: the shape is not (channels, height, width) or is too small.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < minimum or input_shape[0] < 1:
        rule = f"{arch} needs images (channels, height, width) of at least {minimum}x{minimum} pixels"
        raise InputError(rule, input_shape, "choose another dataset, its larger variant, or an arch such as mlp")


def check_drop_path(arch: str, rate: float) -> None:
    """Refuses a rate of stochastic depth outside 0 <= rate < 1.

    Raises:
        InputError: the rate is out of range or not a number.
    """
    if not 0 <= rate < 1:
        raise InputError(
            f"option drop_path of arch {arch} must be 0 or more and below 1", rate, "give a share such as 0.1"
        )
