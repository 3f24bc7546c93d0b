"""Members between two epochs, on disk: each in its own folder, or all in one; and what a complete member leaves.

A member's own checkpoint depends on no other member: whoever trains with it, it goes on where it was. It is marked as a
population's, for `training.state` writes other tensors into the same folder.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from sugar_search.errors import DivergedError, FileError
from sugar_search.training import checkpoint
from sugar_search.training.population.block import Member, Tensors, part_of
from sugar_search.training.population.layout import Layout
from sugar_search.training.run import EpochRecord, RunSpec
from sugar_search.training.state import WEIGHTS, complete, history_of, record

__all__ = ["Saved", "clear", "finish", "load", "load_all", "save", "save_all", "vanished"]

logger = logging.getLogger("sugar_search")


@dataclass(frozen=True, eq=False)
class Saved:
    """A member as it was.

    Attributes:
        history: the finished epochs.
        tensors: of this member alone, empty when it diverged.
        diverged: why, None when it did not.
    """

    history: list[EpochRecord]
    tensors: Tensors
    diverged: DivergedError | None = None


def save(member: Member, tensors: Tensors, layout: Layout) -> None:
    """Writes a member's own checkpoint into its folder.

    Args:
        member: with one finished epoch or more.
        tensors: of this member alone.
        layout: of its network.

    Raises:
        FileError: the folder cannot be written.
    """
    state = {**record(member.spec, member.history), "run": _mark(member.spec), "layout": repr(layout)}
    checkpoint.save(Path(member.spec.folder), checkpoint.Checkpoint(len(member.history), _owned(tensors), state))


def load(spec: RunSpec, layout: Layout) -> Saved | None:
    """What `save` wrote for a run; None when there is nothing that it can go on from.

    Checkpoints that are not used are removed: newer ones may have smaller numbers, and would be passed over for them.
    """
    folder = Path(spec.folder)
    found = checkpoint.load_latest(folder)
    saved = None if found is None else _member(found, spec, layout)
    if saved is not None:
        _clear_after(folder, len(saved.history))
        return saved
    if found is not None:
        logger.warning("%s holds checkpoints of another run: not used", folder)
    checkpoint.clear(folder)
    return None


def clear(spec: RunSpec) -> None:
    """Removes a member's checkpoints, and its folder when nothing else is in it."""
    folder = Path(spec.folder)
    checkpoint.clear(folder)
    try:
        folder.rmdir()
    except OSError:
        return  # there is none, or something else is in it


def save_all(
    folder: Path, layout: Layout, tensors: Tensors, live: Sequence[Member], ended: Mapping[Member, DivergedError]
) -> None:
    """Writes one checkpoint of all members.

    Args:
        folder: of the population's checkpoints.
        layout: of the members' networks.
        tensors: of the live members.
        live: one or more, after the same number of epochs.
        ended: members that diverged, with the reason.

    Raises:
        FileError: the folder cannot be written.
    """
    epoch = len(live[0].history)
    state = {
        "layout": repr(layout),
        "rows": [member.spec.digest for member in live],
        "members": {member.spec.digest: record(member.spec, member.history) for member in (*live, *ended)},
        "diverged": {member.spec.digest: (error.epoch, error.reason) for member, error in ended.items()},
    }
    checkpoint.save(folder, checkpoint.Checkpoint(epoch, _owned(tensors), state))


def load_all(folder: Path, specs: Sequence[RunSpec], layout: Layout) -> list[Saved] | None:
    """What `save_all` wrote, for each run; None, with the checkpoints removed, unless it holds every one."""
    found = checkpoint.load_latest(folder)
    try:
        if found is not None and found.state["layout"] == repr(layout):
            state, rows = found.state, found.state["rows"]
            _clear_after(folder, found.epoch)
            return [
                Saved(
                    history_of(state["members"][spec.digest]),
                    {} if spec.digest in state["diverged"] else part_of(found.tensors, rows.index(spec.digest)),
                    DivergedError(*state["diverged"][spec.digest]) if spec.digest in state["diverged"] else None,
                )
                for spec in specs
            ]
    except (KeyError, ValueError, TypeError):
        pass
    checkpoint.clear(folder)
    return None


def finish(member: Member, network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Leaves in a complete member's folder what a complete solo run leaves there.

    Args:
        member: after its last epoch.
        network: of its architecture; it is given the weights.
        weights: of the selected epoch.

    Raises:
        FileError: the folder cannot be written.
    """
    network.load_state_dict(weights)
    checkpoint.save_weights(Path(member.spec.folder) / WEIGHTS, network)
    complete(member.spec, member.history)


def vanished(error: FileError) -> bool:
    """Whether a folder was removed while it was written to."""
    return isinstance(error.__cause__, FileNotFoundError)


def _member(found: checkpoint.Checkpoint, spec: RunSpec, layout: Layout) -> Saved | None:
    """A member's own checkpoint; None when it is of another run, or of other layers."""
    state = found.state
    try:
        if state["run"] != _mark(spec) or state["layout"] != repr(layout):
            return None
        history = history_of(state)
    except (KeyError, ValueError, TypeError):
        return None
    return Saved(history, found.tensors) if len(history) == found.epoch < spec.recipe.epochs else None


def _mark(spec: RunSpec) -> str:
    return f"{spec.digest} in a population"


def _owned(tensors: Tensors) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory."""
    return {key: each.detach().cpu().contiguous().clone() for key, each in tensors.items()}


def _clear_after(folder: Path, epoch: int) -> None:
    """Removes checkpoints that are newer than the one that is used: they are damaged."""
    for path in folder.glob("epoch-*"):
        if path.name[6:].isdigit() and int(path.name[6:]) > epoch:
            shutil.rmtree(path, ignore_errors=True)
