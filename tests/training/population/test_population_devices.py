"""Data that do not fit on the networks' device stay on the CPU: rows are taken there, and batches are moved."""

from dataclasses import replace

import pytest
import torch

from sugar_search.training import network
from sugar_search.training.population import epoch, judge
from sugar_search.training.population.begin import begin
from sugar_search.training.population.train import train_population


@pytest.fixture
def stepped(make_members):
    """A population after an epoch."""
    population = begin(make_members("m"), None, keep=False)
    population.advance(1)
    return population


class Reached(Exception):
    """Stands for the rest of an epoch."""


def test_rows_lie_with_the_data_and_batches_go_to_the_networks(stepped, monkeypatch):
    train, validation, look = stepped.shown
    elsewhere, seen = replace(look, device=torch.device("meta")), []

    def recorded(split, look, rows, sizes):
        seen.append((split, look, rows, sizes))
        raise Reached

    monkeypatch.setattr(epoch, "gathered", recorded)
    monkeypatch.setattr(judge, "gathered", recorded)
    with pytest.raises(Reached):
        epoch.run_epoch(stepped.blocks[0], train, elsewhere, 2)
    with pytest.raises(Reached):
        judge.judged(stepped.blocks[0], validation, elsewhere)
    monkeypatch.undo()
    assert [rows.device.type for _, _, rows, _ in seen] == ["cpu", "cpu"]
    for given in seen:
        for inputs, targets in epoch.gathered(*given):
            assert inputs.device.type == targets.device.type == "meta"


def test_each_batch_is_moved(make_members, monkeypatch):
    moved, move = [], epoch.on_device

    def recorded(look, batch):
        moved.append(batch)
        return move(look, batch)

    monkeypatch.setattr(epoch, "on_device", recorded)
    list(train_population(make_members("m", epochs=1), keep=False))
    assert moved and len(moved) % 2 == 0  # inputs and targets


def test_the_peak_of_memory_is_measured_from_the_start_of_an_epoch(stepped, monkeypatch):
    reset = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    train, _, look = stepped.shown
    monkeypatch.setattr(epoch, "gathered", lambda *given: iter(()))
    monkeypatch.setattr(epoch, "_rows", lambda *given: None)
    monkeypatch.setattr(torch, "zeros", lambda *shape, **options: torch.ones(shape))
    epoch.run_epoch(stepped.blocks[0], train, replace(look, device=torch.device("cuda:0")), 2)
    assert reset == [torch.device("cuda:0")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_with_data_that_stay_on_the_cpu(make_members, monkeypatch):
    def trained(where, share):
        network._on_device.cache_clear()
        monkeypatch.setattr(network, "DEVICE_SHARE", share)
        specs = [replace(spec, device="cuda") for spec in make_members(where, precision="float32")]
        return list(train_population(specs, keep=False))

    here, there = trained("h", 0.4), trained("t", 0.0)
    network._on_device.cache_clear()
    for step, other in zip(here, there, strict=True):
        for number, record in step.items():
            assert other[number].train_loss == pytest.approx(record.train_loss, rel=1e-4)
            assert record.peak_memory > 0
