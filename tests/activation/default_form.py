"""What the default form must give: what the kernel reads from the table, which is the formula to 1e-6."""

import torch

from sugar_search.activation.exact import compile_tape
from sugar_search.activation.kernels import operators
from sugar_search.activation.table.cache import SAMPLED, table_of


def default_form(tape):
    """A function of a tensor with the gradients that `SugarReLU` gives by default, in the type of the tensor."""
    exact, table = compile_tape(tape), table_of(tape)
    words = torch.from_numpy(table.words.copy())

    def values(x):
        if x.dtype == torch.float64:
            return exact(x)
        x = x.detach().float().contiguous()
        read = operators.backward(torch.ones_like(x), x, words)
        assert not x.numel() or (read - exact(x.double())).abs().max() <= 2 * SAMPLED * table.scale
        return read

    return lambda x: values(x).to(x.dtype)
