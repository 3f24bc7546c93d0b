"""Forward gradient injection as the paper writes it: equation 4 (indirect), equations 5 and 6 (direct).

These two forms are kept literal, as the reference that `function` is tested against, and with their flaws: evaluated
left to right they give NaN at plus and minus infinity, lose the sign of -0, and can overflow in half precision, where
`x * g(x)` is rounded to the input's type. Train with the default form of `SugarReLU` instead.

Source: Horuz et al., "The Resurrection of the ReLU", arXiv 2505.22074, section 3; Otte, "Flexible and efficient
surrogate gradient modeling with forward gradient injection", AIROV 2024.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sugar_search.activation.exact import compile_tape, evaluate
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["exported_relu", "fgi_direct", "fgi_indirect"]


def fgi_indirect(x: Tensor, surrogate: Surrogate) -> Tensor:
    """Equation 4: `y = f(x) - sg(f(x)) + sg(relu(x))`, where autograd differentiates the activation f itself.

    Args:
        x: any shape, floating point.
        surrogate: one with an activation.

    Returns:
        A tensor like `x`: ReLU forward up to rounding, f' backward.

    Raises:
        InputError: the surrogate has no activation.
    """
    if surrogate.activation_tape is None:
        raise InputError(
            "indirect injection needs a surrogate with an activation",
            surrogate.title,
            'use the "exact" or "direct" method',
        )
    f = evaluate(surrogate.activation_tape, x)
    return f - f.detach() + torch.ops.aten.relu.default(x).detach()


def fgi_direct(x: Tensor, surrogate: Surrogate) -> Tensor:
    """Equations 5 and 6: `m = x * sg(g(x))`, `y = m - sg(m) + sg(relu(x))`, where g is the surrogate derivative.

    Args:
        x: any shape, floating point.
        surrogate: any surrogate.

    Returns:
        A tensor like `x`: ReLU forward up to rounding, g backward.
    """
    m = x * compile_tape(surrogate.tape)(x.detach())
    return m - m.detach() + torch.ops.aten.relu.default(x).detach()


def exported_relu(x: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
    """`y = sg(relu(x)) + (x - sg(x)) * sg(g(x))`: equations 5 and 6 rearranged so that finite x gives ReLU exactly.

    `torch.export` keeps plain operators alone, among them the stop-gradients of this form.

    Args:
        x: any shape, floating point.
        derivative: g, by `compile_tape`.

    Returns:
        A tensor like `x`: ReLU forward, g backward.
    """
    # 0, and nan at an infinite x.
    nothing = torch.nan_to_num(x - x.detach())
    return torch.ops.aten.relu.default(x).detach() + nothing * derivative(x.detach())
