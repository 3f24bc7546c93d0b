"""All members of a population between two epochs, in blocks that fit into the cache."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from sugar_search.data._dataset import Split
from sugar_search.errors import DivergedError
from sugar_search.training.augment import Look
from sugar_search.training.epoch import peak_memory
from sugar_search.training.population import store
from sugar_search.training.population.block import Block, Member
from sugar_search.training.population.epoch import run_epoch
from sugar_search.training.population.judge import judged
from sugar_search.training.run import EpochRecord, Metrics

__all__ = ["Population", "Step"]

Step = dict[int, EpochRecord | DivergedError]  # what an epoch gave, by a member's number


@dataclass(eq=False)
class Population:
    """All members between two epochs.

    Attributes:
        complete: histories of the members that were complete from the start, by number.
        folder: of the checkpoints, None for none.
        members: the others, but for those that were stopped.
        blocks: the live ones.
        shown: the splits whose inputs the members' rows name, for training and validation, and how samples must look.
        network: of the members' architecture; lends its names and shapes.
        epoch: finished epochs.
        ended: errors of diverged members, by number.
    """

    complete: dict[int, list[EpochRecord]]
    folder: Path | None
    members: list[Member] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    shown: tuple[Split, Split, Look] | None = None
    network: nn.Module | None = None
    epoch: int = 0
    ended: dict[int, DivergedError] = field(default_factory=dict)

    @property
    def going(self) -> bool:
        """Whether there is anything left to yield."""
        return bool(self.blocks or self.complete or self.ended)

    def step(self, epoch: int) -> Step:
        """What an epoch gave, of every member that finished it or diverged in it."""
        found: Step = {number: history[epoch - 1] for number, history in self.complete.items()}
        for member in self.members:
            error = self.ended.get(member.number)
            if len(member.history) >= epoch:
                found[member.number] = member.history[epoch - 1]
            elif error is not None and error.epoch == epoch:
                found[member.number] = error
        return dict(sorted(found.items()))

    def advance(self, epoch: int) -> None:
        """Trains and judges all blocks for one epoch; members that diverge are dropped."""
        # Whatever the runs' number of threads: operators this small gain nothing by a second one, and with one thread
        # a member's bits do not depend on the size of its block.
        torch.set_num_threads(1)
        for block in self.blocks:
            self.ended |= self._advance(block, epoch)
        self.epoch = epoch
        self.blocks = [block for block in self.blocks if block.members]

    def _advance(self, block: Block, epoch: int) -> dict[int, DivergedError]:
        """One epoch of a block; returns the errors of members that diverged."""
        assert self.shown is not None
        train, validation, look = self.shown
        began, size = time.perf_counter(), len(block.members)
        done = run_epoch(block, train, look, epoch)
        losses, metrics = done.losses.tolist(), judged(block, validation, look)
        finite = torch.stack([each.isfinite().all(dim=1) for each in block.buffers]).all(dim=0).tolist()
        seconds, speed = (time.perf_counter() - began) / size, done.samples * size / done.seconds
        memory, ended, rows = peak_memory(look.device), {}, []
        for row, (member, loss, sound, metric) in enumerate(zip(block.members, losses, finite, metrics, strict=True)):
            if (reason := _fault(loss, sound, metric)) is not None:
                ended[member.number] = DivergedError(epoch, reason)
                continue
            member.history.append(EpochRecord(epoch, loss, metric, done.lr, seconds, speed, memory))
            rows.append(row)
        block.keep(rows)
        block.keep_best()
        return ended

    def drop(self, numbers: set[int]) -> None:
        """Stops members; those that have ended, or are no members, are passed over."""
        for block in self.blocks:
            block.keep([row for row, member in enumerate(block.members) if member.number not in numbers])
        self.blocks = [block for block in self.blocks if block.members]
        self.members = [member for member in self.members if member.number not in numbers]
        self.complete = {number: each for number, each in self.complete.items() if number not in numbers}

    def store(self) -> None:
        """Writes a checkpoint where there is a folder for it."""
        if self.folder is not None and self.blocks:
            ended = {number: (error.epoch, error.reason) for number, error in self.ended.items()}
            store.save(self.folder, self.epoch, self.blocks, self.members, ended)

    def finish(self) -> None:
        """Leaves each live member's weights and records in its folder."""
        for block in self.blocks:
            assert self.network is not None
            for row, member in enumerate(block.members):
                store.finish(member, self.network, block.chosen(row))


def _fault(loss: float, is_finite: bool, validation: Metrics) -> str | None:
    """Why a member diverged, in the words and in the order of `loop.train`; None when it did not."""
    if not math.isfinite(loss):
        return f"the training loss is {loss}"
    if not is_finite:
        return "a weight is NaN or infinite"
    return None if math.isfinite(validation.loss) else f"the validation loss is {validation.loss}"
