"""All members of a population: those that step, in blocks, and those that wait for others to catch up."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from sugar_search.data._dataset import Split
from sugar_search.errors import DivergedError, FileError
from sugar_search.training.augment import Look
from sugar_search.training.epoch import peak_memory
from sugar_search.training.population import store
from sugar_search.training.population.block import Block, Member, Tensors, joined, part_of
from sugar_search.training.population.cutting import blocks_of
from sugar_search.training.population.epoch import run_epoch
from sugar_search.training.population.judge import judged
from sugar_search.training.population.layout import Layout
from sugar_search.training.run import EpochRecord, Metrics

__all__ = ["Population", "Step"]

Step = dict[int, EpochRecord | DivergedError]  # what an epoch gave, by a member's number


@dataclass(eq=False)
class Population:
    """All members between two epochs.

    A member that goes on from a later epoch than others waits until they have come as far; then they step together.

    Attributes:
        complete: histories of the members that were complete from the start, by number.
        layout: of the members' networks; None, as the next two, where all were complete.
        shown: the splits whose inputs the members' rows name, for training and validation, and how samples must look.
        network: of the members' architecture; lends its names and shapes.
        keep: whether each member's checkpoints lie in its own folder.
        folder: of one checkpoint for all, None for none.
        members: all others, but for those that were stopped.
        blocks: the members that step, all after the same number of epochs.
        waiting: the members that do not yet, with their tensors, by number of finished epochs.
        ended: errors of diverged members, by number.
        stored: epoch of each member's own newest checkpoint, by number.
    """

    complete: dict[int, list[EpochRecord]]
    layout: Layout | None = None
    shown: tuple[Split, Split, Look] | None = None
    network: nn.Module | None = None
    keep: bool = True
    folder: Path | None = None
    members: list[Member] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    waiting: dict[int, list[tuple[Member, Tensors]]] = field(default_factory=dict)
    ended: dict[int, DivergedError] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)

    @property
    def going(self) -> bool:
        """Whether there is anything left to yield."""
        return bool(self.blocks or self.waiting or self.complete or self.ended)

    def add(self, member: Member, tensors: Tensors) -> None:
        """Takes in a member after the epochs of its history."""
        epoch = len(member.history)
        self.waiting.setdefault(epoch, []).append((member, tensors))
        if self.keep and epoch:
            self.stored[member.number] = epoch

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
        """Trains and judges for one epoch all members that have finished the one before; who diverges is dropped."""
        self._meet(self.waiting.pop(epoch - 1, []))
        # Whatever the runs' number of threads: operators this small gain nothing by a second one, and with one thread
        # a member's bits do not depend on the size of its block.
        torch.set_num_threads(1)
        for block in self.blocks:
            self.ended |= self._advance(block, epoch)
        self.blocks = [block for block in self.blocks if block.members]

    def _meet(self, arrived: list[tuple[Member, Tensors]]) -> None:
        """Members that have waited, and those that have come as far, step together from now on."""
        if arrived:
            assert self.layout is not None
            for block in self.blocks:
                tensors = block.tensors()
                arrived += [(member, part_of(tensors, row)) for row, member in enumerate(block.members)]
            self.blocks = blocks_of(self.layout, arrived)

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
                self._forget(member)
                continue
            member.history.append(EpochRecord(epoch, loss, metric, done.lr, seconds, speed, memory))
            rows.append(row)
        block.keep(rows)
        block.keep_best()
        return ended

    def drop(self, numbers: set[int]) -> None:
        """Stops members, which then leave nothing; those that have ended, or are no members, are passed over."""
        for block in self.blocks:
            block.keep([row for row, member in enumerate(block.members) if member.number not in numbers])
        self.blocks = [block for block in self.blocks if block.members]
        stay = {epoch: [each for each in lot if each[0].number not in numbers] for epoch, lot in self.waiting.items()}
        self.waiting = {epoch: lot for epoch, lot in stay.items() if lot}
        for member in self.members:
            if member.number in numbers:
                self._forget(member)
        self.members = [member for member in self.members if member.number not in numbers]
        self.complete = {number: each for number, each in self.complete.items() if number not in numbers}

    def store(self) -> None:
        """Writes checkpoints of the members that step; those that wait have theirs."""
        if self.keep:
            for block in self.blocks:
                tensors = block.tensors()
                for row, member in enumerate(block.members):
                    self._store(member, part_of(tensors, row))
        elif self.folder is not None and self.blocks:
            assert self.layout is not None
            live = [member for block in self.blocks for member in block.members]
            ended = {member: self.ended[member.number] for member in self.members if member.number in self.ended}
            tensors = joined([block.tensors() for block in self.blocks])
            store.save_all(self.folder, self.layout, tensors, live, ended)

    def finish(self) -> None:
        """Leaves each live member's weights and records in its folder."""
        for block in self.blocks:
            for row, member in enumerate(block.members):
                assert self.network is not None
                try:
                    store.finish(member, self.network, block.chosen(row))
                except FileError as error:
                    _unless_vanished(error)

    def _store(self, member: Member, tensors: Tensors) -> None:
        """A member's own checkpoint, unless there is one or its folder was removed since the last."""
        epoch, last = len(member.history), self.stored.get(member.number, 0)
        if epoch == last or (last and not Path(member.spec.folder).is_dir()):
            return
        assert self.layout is not None
        try:
            store.save(member, tensors, self.layout)
            self.stored[member.number] = epoch
        except FileError as error:
            _unless_vanished(error)

    def _forget(self, member: Member) -> None:
        """Removes the own checkpoints of a member that has ended."""
        if self.stored.pop(member.number, None) is not None:
            store.clear(member.spec)


def _unless_vanished(error: FileError) -> None:
    """A folder that is removed while it is written to (a study needs the run no more) costs no other member."""
    if not store.vanished(error):
        raise error


def _fault(loss: float, is_finite: bool, validation: Metrics) -> str | None:
    """Why a member diverged, in the words and in the order of `loop.train`; None when it did not."""
    if not math.isfinite(loss):
        return f"the training loss is {loss}"
    if not is_finite:
        return "a weight is NaN or infinite"
    return None if math.isfinite(validation.loss) else f"the validation loss is {validation.loss}"
