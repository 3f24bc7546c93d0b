"""What the default form must give: the table's values, bit for bit, which are those of the formula to 1e-6."""

import numpy as np
import torch

from sugar_search.activation.exact import compile_tape
from sugar_search.activation.table.cache import SAMPLED, table_of
from sugar_search.activation.table.evaluate import evaluate


def default_form(tape):
    """A function of a tensor with the gradients that `SugarReLU` gives by default, in the type of the tensor."""
    exact, table = compile_tape(tape), table_of(tape)

    def values(x):
        if x.dtype == torch.float64:
            return exact(x)
        read = torch.from_numpy(np.array(evaluate(table.words, x.detach().float().numpy()))).reshape(x.shape)
        assert (read - exact(x.detach().double())).abs().max() <= 2 * SAMPLED * table.scale
        return read.to(x.dtype)

    return values
