"""Where the table of a module lives: one tensor on each device that reads it, all with the words of one surrogate."""

import torch
from torch import Tensor

from sugar_search.activation.table.cache import ranged_table_of, table_of
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["Tables", "words_of"]


class Tables:
    """The tensors of one surrogate's table.

    Another surrogate is written into the same tensors, so that compiled networks see its values. A copy of a module
    gets tensors of its own; the replicas of `nn.DataParallel` share those of their module.
    """

    def __init__(self) -> None:
        self.by_device: dict[torch.device, Tensor] = {}

    def write(self, words: Tensor) -> None:
        """Overwrites the table on all devices.

        Args:
            words: int32 (WORDS,), on the CPU.
        """
        # Not in inference mode, whose tensors can never be saved for a backward.
        with torch.inference_mode(False), torch.no_grad():
            for table in self.by_device.values():
                table.copy_(words)
            if words.device not in self.by_device:
                self.by_device[words.device] = words.clone()

    def on(self, device: torch.device) -> Tensor:
        """The table on a device: int32 (WORDS,); copied there on first use, after `write`."""
        found = self.by_device.get(device)
        if found is None:
            with torch.inference_mode(False):
                found = self.by_device[device] = self.by_device[torch.device("cpu")].to(device)
        return found

    def read(self, table: Tensor, device: torch.device) -> Tensor:
        """What stands on `device` for `table`, which lies on another one.

        Args:
            table: one of these tensors, or one of the user's, which is copied.
            device: of the input.
        """
        if table is not self.by_device.get(table.device):
            return table.to(device)
        # A graph cannot make a tensor that outlives it.
        if torch.compiler.is_compiling():
            found = self.by_device.get(device)
            return table.to(device) if found is None else found
        return self.on(device)


def words_of(surrogate: Surrogate, ranged: bool) -> Tensor:
    """The words of a surrogate's table: int32 (WORDS,), on the CPU.

    Args:
        surrogate: any.
        ranged: whether codes will be made from it, which need a certified range of g.
    """
    table = (ranged_table_of if ranged else table_of)(surrogate.tape)
    return torch.from_numpy(table.words.copy())
