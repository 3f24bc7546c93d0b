"""Members that step together: their weights, their optimizer's state, the order of their samples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sugar_search.symbolic.surrogate import Surrogate
from sugar_search.training.network import build_optimizer
from sugar_search.training.population.gradient import relu_gradient
from sugar_search.training.population.layout import Layout
from sugar_search.training.population.passes import Stack, stack_of
from sugar_search.training.recipe import Recipe
from sugar_search.training.run import EpochRecord, RunSpec, selected

__all__ = ["Block", "Member", "block_of", "joined"]


@dataclass(eq=False)
class Member:
    """One run of a population.

    Attributes:
        number: its place in the list that the caller gave.
        spec: what is trained.
        surrogate: of the specification, None for plain ReLU.
        train: rows of the shared inputs that it is fitted to, int64 of shape (samples,).
        validation: rows of the shared inputs that it is judged on, alike.
        history: the finished epochs.
    """

    number: int
    spec: RunSpec
    surrogate: Surrogate | None
    train: Tensor
    validation: Tensor
    history: list[EpochRecord]


class Block:
    """Members in one batch; row k of every tensor belongs to member k.

    Args:
        layout: of the networks.
        recipe: shared by all members, but for options of the architecture.
        members: one or more.
        buffers: weights, from `Layout.pack`.
        best: weights of each member's selected epoch so far, where the recipe selects the best.
    """

    def __init__(
        self,
        layout: Layout,
        recipe: Recipe,
        members: Sequence[Member],
        buffers: Sequence[Tensor],
        best: Sequence[Tensor] | None = None,
    ) -> None:
        self.layout, self.recipe, self.members = layout, recipe, list(members)
        # Members of one seed draw one order, so a generator serves them all.
        self.orders = {m.spec.seed: torch.Generator().manual_seed(m.spec.seed) for m in self.members}
        self.best = [each.clone() for each in buffers] if best is None else list(best)
        self._bind(buffers)
        self.optimizer = build_optimizer(recipe, _holder(self.parameters))

    def _bind(self, buffers: Sequence[Tensor]) -> None:
        """Takes over new buffers, with gradients and views that fit."""
        self.parameters = [nn.Parameter(each) for each in buffers]
        self.gradients = [torch.zeros_like(each) for each in buffers]
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        self.stack: list[Stack] = stack_of(self.layout, self.buffers, self.gradients)
        device = self.parameters[0].device
        self.relu_gradient: Callable[[Tensor, Tensor], Tensor] = relu_gradient(
            [member.surrogate for member in self.members], device
        )

    @property
    def buffers(self) -> list[Tensor]:
        """The weights of all members."""
        return [parameter.detach() for parameter in self.parameters]

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all members but those in `rows`, which must be ascending; those go on with the same bits."""
        if len(rows) == len(self.members):
            return
        index = torch.tensor(rows, dtype=torch.int64, device=self.parameters[0].device)
        state = self.state()
        self.members = [self.members[row] for row in rows]
        self.best = [each.index_select(0, index) for each in self.best]
        self._bind([each.index_select(0, index) for each in self.buffers])
        self.optimizer = build_optimizer(self.recipe, _holder(self.parameters))
        self.load_state({key: each.index_select(0, index) if each.dim() else each for key, each in state.items()})

    def state(self) -> dict[str, Tensor]:
        """The optimizer's tensors, by buffer and name; those of one value are shared by all members."""
        found = {}
        for number, parameter in enumerate(self.parameters):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    found[f"{number}/{key}"] = value
        return found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what `state` gave."""
        for key, value in state.items():
            number, _, name = key.partition("/")
            self.optimizer.state[self.parameters[int(number)]][name] = value

    def keep_best(self) -> None:
        """Copies the weights of members whose last epoch is the selected one so far."""
        if self.recipe.selection.epoch == "last":
            return
        rows = [
            row
            for row, member in enumerate(self.members)
            if selected(self.recipe, member.history).epoch == len(member.history)
        ]
        index = torch.tensor(rows, dtype=torch.int64, device=self.parameters[0].device)
        for best, now in zip(self.best, self.buffers, strict=True):
            best.index_copy_(0, index, now.index_select(0, index))

    def chosen(self, row: int) -> dict[str, Tensor]:
        """The state dict of one member's selected epoch, the last one's where the recipe says so."""
        return self.layout.unpack(self.buffers if self.recipe.selection.epoch == "last" else self.best, row)


def block_of(layout: Layout, recipe: Recipe, members: Sequence[Member], networks: Sequence[nn.Module]) -> Block:
    """A block of new members.

    Args:
        layout: of the networks.
        recipe: of all members.
        members: without finished epochs.
        networks: as a solo run builds each, freshly initialised.
    """
    return Block(layout, recipe, members, layout.pack([network.state_dict() for network in networks]))


def joined(tensors: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several blocks as those of one."""
    return {
        key: torch.cat([each[key] for each in tensors]) if first.dim() else first for key, first in tensors[0].items()
    }


def _holder(parameters: Sequence[nn.Parameter]) -> nn.Module:
    """The buffers under such names that `build_optimizer` lets the first decay, and never the second."""
    holder = nn.Module()
    holder.register_parameter("weights", parameters[0])
    if len(parameters) > 1:
        apart = nn.Module()
        apart.register_parameter("bias", parameters[1])
        holder.add_module("apart", apart)
    return holder
