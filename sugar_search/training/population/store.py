"""A population between two epochs, on disk: one checkpoint for all members, and what a complete member leaves."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sugar_search.errors import DivergedError
from sugar_search.training import checkpoint
from sugar_search.training.population.block import Block, Member, joined
from sugar_search.training.population.layout import Layout
from sugar_search.training.run import EpochRecord, RunSpec
from sugar_search.training.state import FINISHED, WEIGHTS

__all__ = ["Saved", "finish", "load", "save"]


@dataclass(frozen=True, eq=False)
class Saved:
    """A checkpoint of a population.

    Attributes:
        epoch: finished epochs.
        rows: digests of the live members, in the order of the tensors' rows.
        histories: by digest, of all members, those that ended included.
        diverged: by digest.
        tensors: weights, optimizer's state, best weights and generators of the live members.
    """

    epoch: int
    rows: tuple[str, ...]
    histories: dict[str, list[EpochRecord]]
    diverged: dict[str, DivergedError]
    tensors: dict[str, Tensor]

    def restored(self, layout: Layout, members: Sequence[Member]) -> Block:
        """The block of some live members, as it was."""
        index = torch.tensor([self.rows.index(member.spec.digest) for member in members], dtype=torch.int64)
        tensors = {key: each.index_select(0, index) if each.dim() else each for key, each in self.tensors.items()}
        device = torch.device(members[0].spec.device)
        part = {
            name: {
                key.removeprefix(name): each.to(device) for key, each in sorted(tensors.items()) if key.startswith(name)
            }
            for name in ("weights/", "best/", "optimizer/")
        }
        weights, best = list(part["weights/"].values()), list(part["best/"].values())
        block = Block(layout, members[0].spec.recipe, members, weights, best)
        block.load_state(part["optimizer/"])
        for member, state in zip(members, tensors["order"], strict=True):
            block.orders[member.spec.seed].set_state(state.clone())  # a row of a tensor may lie at an odd address
            member.history[:] = self.histories[member.spec.digest]
        return block


def save(
    folder: Path, epoch: int, blocks: Sequence[Block], members: Sequence[Member], ended: dict[int, tuple[int, str]]
) -> None:
    """Writes a checkpoint of all members.

    Args:
        folder: of the population's checkpoints.
        epoch: finished epochs.
        blocks: the live members.
        members: all members.
        ended: epoch and reason of diverged members, by number.

    Raises:
        FileError: the folder cannot be written.
    """
    parts = []
    for block in blocks:
        named = {f"weights/{number}": each for number, each in enumerate(block.buffers)}
        if block.recipe.selection.epoch == "best":
            named |= {f"best/{number}": each for number, each in enumerate(block.best)}
        named |= {f"optimizer/{key}": each for key, each in block.state().items()}
        states = {seed: order.get_state() for seed, order in block.orders.items()}
        named["order"] = torch.stack([states[member.spec.seed] for member in block.members])
        parts.append(named)
    tensors = {key: each.cpu().contiguous().clone() for key, each in joined(parts).items()}
    state = {
        "rows": [member.spec.digest for block in blocks for member in block.members],
        "histories": {member.spec.digest: [each.to_dict() for each in member.history] for member in members},
        "diverged": {member.spec.digest: ended[member.number] for member in members if member.number in ended},
    }
    checkpoint.save(folder, checkpoint.Checkpoint(epoch, tensors, state))


def load(folder: Path, specs: Sequence[RunSpec]) -> Saved | None:
    """The newest whole checkpoint, if it holds every run of `specs`; else they begin anew."""
    found = checkpoint.load_latest(folder)
    if found is None:
        return None
    state = found.state
    histories = {key: [EpochRecord.from_dict(each) for each in rows] for key, rows in state["histories"].items()}
    diverged = {key: DivergedError(*reason) for key, reason in state["diverged"].items()}
    saved = Saved(found.epoch, tuple(state["rows"]), histories, diverged, found.tensors)
    whole = all(spec.digest in {*saved.rows, *diverged} for spec in specs)
    return saved if whole else None


def finish(member: Member, network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Leaves in a complete member's folder what a complete solo run leaves there.

    Args:
        member: after its last epoch.
        network: of its architecture; it is given the weights.
        weights: of the selected epoch.

    Raises:
        FileError: the folder cannot be written.
    """
    folder = Path(member.spec.folder)
    network.load_state_dict(weights)
    checkpoint.save_weights(folder / WEIGHTS, network)
    record = {"run": member.spec.digest, "history": [each.to_dict() for each in member.history]}
    checkpoint.write_atomically(folder / FINISHED, json.dumps(record).encode())
    checkpoint.clear(folder)
    for path in folder.glob("weights-*.safetensors"):  # of a solo run that did not end
        path.unlink(missing_ok=True)
