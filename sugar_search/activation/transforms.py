"""What surrounds a call: torch.func transforms and forward-mode levels, and the error of second derivatives."""

import torch
from torch.autograd import forward_ad

__all__ = ["no_second_derivative", "transformed"]


def transformed() -> bool:
    """Whether a torch.func transform or a forward-mode level is active."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


def no_second_derivative() -> RuntimeError:
    """The error of a derivative through a surrogate's backward."""
    return RuntimeError("second derivatives through a surrogate are not defined; use a differentiable activation")
