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

__all__ = ["Block", "Member", "Tensors", "joined", "new_tensors", "part_of"]

# Of members between two epochs, by name: "weights/0" (a buffer), "best/0" (alike, of the selected epoch so far, where
# the recipe selects the best), "optimizer/0/NAME", and "order", the states of the generators of the samples' order. Row
# k belongs to member k; a tensor without dimensions belongs to all alike, such as an optimizer's number of steps.
Tensors = Mapping[str, Tensor]


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
    """Members in one batch, after the same number of epochs; row k of every tensor belongs to member k.

    Args:
        layout: of the networks.
        recipe: shared by all members, but for options of the architecture.
        members: one or more.
        tensors: of the members, on any device; the block's own from now on.
    """

    def __init__(self, layout: Layout, recipe: Recipe, members: Sequence[Member], tensors: Tensors) -> None:
        self.layout, self.recipe = layout, recipe
        self.device = torch.device(members[0].spec.device)
        self._take(members, tensors)

    def _take(self, members: Sequence[Member], tensors: Tensors) -> None:
        """Takes over members and their tensors, with gradients and views that fit."""
        self.members = list(members)
        # Members of one seed draw one order, so a generator serves them all.
        self.orders = {member.spec.seed: torch.Generator() for member in self.members}
        for member, state in zip(self.members, tensors["order"].cpu(), strict=True):
            self.orders[member.spec.seed].set_state(state.clone())  # a row of a tensor may lie at an odd address
        self.parameters = [nn.Parameter(each.to(self.device)) for each in _numbered(tensors, "weights")]
        self.best = [each.to(self.device) for each in _numbered(tensors, "best")]
        self.gradients = [torch.zeros_like(each) for each in self.buffers]
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        self.stack: list[Stack] = stack_of(self.layout, self.buffers, self.gradients)
        self.relu_gradient: Callable[[Tensor, Tensor], Tensor] = relu_gradient(
            [member.surrogate for member in self.members], self.device
        )
        self.optimizer = build_optimizer(self.recipe, _holder(self.parameters))
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, number, name = key.split("/")
                self.optimizer.state[self.parameters[int(number)]][name] = value.to(self.device)

    @property
    def buffers(self) -> list[Tensor]:
        """The weights of all members."""
        return [parameter.detach() for parameter in self.parameters]

    def tensors(self) -> dict[str, Tensor]:
        """All that the members are; most are the block's own tensors, which the next step changes."""
        found = {f"weights/{number}": each for number, each in enumerate(self.buffers)}
        found |= {f"best/{number}": each for number, each in enumerate(self.best)}
        for number, parameter in enumerate(self.parameters):
            for name, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    found[f"optimizer/{number}/{name}"] = value
        states = {seed: order.get_state() for seed, order in self.orders.items()}
        return found | {"order": torch.stack([states[member.spec.seed] for member in self.members])}

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all members but those in `rows`, which must be ascending; those go on with the same bits."""
        if len(rows) == len(self.members):
            return
        if not rows:  # nothing steps any more
            self.members = []
            return
        index = torch.tensor(rows, dtype=torch.int64)
        kept = {
            key: each.index_select(0, index.to(each.device)) if each.dim() else each
            for key, each in self.tensors().items()
        }
        self._take([self.members[row] for row in rows], kept)

    def keep_best(self) -> None:
        """Copies the weights of members whose last epoch is the selected one so far."""
        if not self.best:
            return
        rows = [
            row
            for row, member in enumerate(self.members)
            if selected(self.recipe, member.history).epoch == len(member.history)
        ]
        index = torch.tensor(rows, dtype=torch.int64, device=self.device)
        for best, now in zip(self.best, self.buffers, strict=True):
            best.index_copy_(0, index, now.index_select(0, index))

    def chosen(self, row: int) -> dict[str, Tensor]:
        """The state dict of one member's selected epoch."""
        return self.layout.unpack(self.best or self.buffers, row)


def new_tensors(layout: Layout, spec: RunSpec, network: nn.Module) -> dict[str, Tensor]:
    """The tensors of one new member.

    Args:
        layout: of the network.
        spec: of the member.
        network: as a solo run builds it, freshly initialised.
    """
    weights = layout.pack([network.state_dict()])
    found = {f"weights/{number}": each for number, each in enumerate(weights)}
    if spec.recipe.selection.epoch == "best":
        found |= {f"best/{number}": each.clone() for number, each in enumerate(weights)}
    return found | {"order": torch.Generator().manual_seed(spec.seed).get_state().unsqueeze(0)}


def joined(parts: Sequence[Tensors]) -> dict[str, Tensor]:
    """New tensors of several lots of members, all after the same number of epochs."""
    return {
        key: torch.cat([each[key] for each in parts]) if first.dim() else first.clone()
        for key, first in parts[0].items()
    }


def part_of(tensors: Tensors, row: int) -> dict[str, Tensor]:
    """The tensors of one member, as views."""
    return {key: each[row : row + 1] if each.dim() else each for key, each in tensors.items()}


def _numbered(tensors: Tensors, kind: str) -> list[Tensor]:
    """The buffers of a kind, in their order; there are at most two."""
    return [tensors[key] for key in sorted(tensors) if key.startswith(f"{kind}/")]


def _holder(parameters: Sequence[nn.Parameter]) -> nn.Module:
    """The buffers under such names that `build_optimizer` lets the first decay, and never the second."""
    holder = nn.Module()
    holder.register_parameter("weights", parameters[0])
    if len(parameters) > 1:
        apart = nn.Module()
        apart.register_parameter("bias", parameters[1])
        holder.add_module("apart", apart)
    return holder
