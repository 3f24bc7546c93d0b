"""Which networks are such perceptrons that they train in a batch with others."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sugar_search.training.population.layout import layout_of
from sugar_search.training.population.passes import SAMPLES, backward, forward, stack_of

__all__ = ["disagreement", "obstacle"]

# What torch itself puts into a new layer; anything else, such as a `forward` of its own, may change what a layer does.
PLAIN = {
    type(each): vars(each).keys()
    for each in (nn.Sequential(), nn.Flatten(), nn.ReLU(), nn.Linear(1, 1, device=torch.device("meta")))
}
RELATIVE = 1e-3  # two orders of summation differ by far less


def obstacle(model: nn.Module) -> str | None:
    """Why a network is no perceptron that trains in a batch with others; None when it is one.

    Nothing is computed, so the network may lie on any device.
    """
    if type(model) is not nn.Sequential:
        return "the architecture is no nn.Sequential"
    layers = list(model._modules.values())  # with repeats, which `children` drops
    if any(type(each) not in PLAIN or type(each) is nn.Sequential for each in layers):
        return "the architecture has layers other than Flatten, Linear and ReLU"
    if any(_is_changed(each) for each in model.modules()):
        return "a layer has hooks, buffers or attributes that are not torch's own"
    linear = [each for each in layers if isinstance(each, nn.Linear)]
    if len({id(each) for each in linear}) < len(linear):
        return "a linear layer is used twice"
    return _order(layers) or next((said for each in linear if (said := _fault(each))), None) or _names(model)


def disagreement(model: nn.Module, input_shape: tuple[int, ...], outputs: int) -> str | None:
    """Whether a network on the CPU computes something else than a population does in its place, as a clause.

    Two random samples pass through both, and the gradients of all weights come back. The gradients of the network
    itself are left as they were.

    Args:
        model: without an `obstacle`.
        input_shape: of one sample.
        outputs: that the network must have.
    """
    x = torch.randn(2, *input_shape)
    parameters = list(model.parameters())
    try:
        expected = model(x)
        error = torch.randn(2, outputs)
        gradients = torch.autograd.grad((expected * error).sum(), parameters)
    except RuntimeError as reason:
        return f"the network refuses samples ({str(reason).splitlines()[0][:200]})"
    layout = layout_of(model, separate=False)
    buffers = layout.pack([model.state_dict()])
    found = [torch.zeros_like(each) for each in buffers]
    stack = stack_of(layout, buffers, found)
    with torch.no_grad():
        values, before = forward(stack, _filled(x.flatten(1)))
        backward(stack, values, before, _filled(error), _relu_gradient)
    ours = [values[-1][0].mT[:2], *layout.unpack(found, 0).values()]
    theirs = dict(zip((name for name, _ in model.named_parameters()), gradients, strict=True))
    same = (
        _close(one, other)
        for one, other in zip(ours, [expected.detach(), *(theirs[place.name] for place in layout.places)], strict=True)
    )
    return None if all(same) else "the network does not compute what its layers say"


def _is_changed(module: nn.Module) -> bool:
    """Whether a module holds hooks, buffers or attributes beyond torch's own."""
    own = vars(module)
    filled = (name for name, each in own.items() if isinstance(each, dict) and each)
    return own.keys() != PLAIN[type(module)] or any(name not in ("_parameters", "_modules") for name in filled)


def _order(layers: list[nn.Module | None]) -> str | None:
    """What is wrong with the order of the layers."""
    flat = [each for each in layers if isinstance(each, nn.Flatten)]
    if any(isinstance(each, nn.Flatten) for each in layers[1:]):
        return "a Flatten does not come first"
    if any((each.start_dim, each.end_dim) != (1, -1) for each in flat):
        return "a Flatten does not flatten whole samples"
    # A ReLU of a ReLU, or of the inputs, is not what one of these networks has.
    kinds = [type(each) for each in layers if not isinstance(each, nn.Flatten)]
    if not kinds or any(a is nn.ReLU and b is nn.ReLU for a, b in zip([nn.ReLU, *kinds], kinds)):
        return "a ReLU does not follow a linear layer"
    return None if nn.ReLU in kinds else "the architecture has no ReLU"


def _fault(layer: nn.Linear) -> str | None:
    """What is wrong with the parameters of a linear layer."""
    if layer._parameters.keys() != {"weight", "bias"} or layer.bias is None:
        return "a linear layer has no bias"
    for each in (layer.weight, layer.bias):
        if type(each) is not nn.Parameter or each.dtype != torch.float32:
            return "a parameter is not an ordinary one in float32"
        if not each.requires_grad:
            return "a parameter is frozen"
        if each._backward_hooks or getattr(each, "_post_accumulate_grad_hooks", None):
            return "a parameter's gradient has hooks"
    return None


def _names(model: nn.Sequential) -> str | None:
    """What is wrong with the parameters of the network as a whole."""
    wanted = [f"{name}.{kind}" for name, each in _linear(model) for kind in ("weight", "bias")]
    if model._parameters or any(each._parameters for each in model if not isinstance(each, nn.Linear)):
        return "a layer other than Linear has parameters"
    if len(list(model.parameters())) < len(wanted):
        return "two layers share a parameter"
    return None if list(model.state_dict()) == wanted else "the state dict has other names than its layers"


def _linear(model: nn.Sequential) -> Iterator[tuple[str, nn.Module | None]]:
    return ((name, each) for name, each in model._modules.items() if isinstance(each, nn.Linear))


def _relu_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(gradient, x, 0)


def _filled(rows: Tensor) -> Tensor:
    """Samples as `passes` takes them: shape (1, features, SAMPLES), zeros behind the last."""
    out = torch.zeros(1, rows.shape[1], SAMPLES)
    out[0, :, : len(rows)] = rows.mT
    return out


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).norm() <= RELATIVE * other.norm())
