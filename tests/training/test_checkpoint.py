"""Checkpoints: round trips, damage, leftovers."""

import logging
import shutil

import pytest
import torch
from torch import nn

from sugar_search.errors import FileError
from sugar_search.training import checkpoint
from sugar_search.training.checkpoint import Checkpoint


class Tied(nn.Module):
    """Two layers that share one weight, and a buffer that is a transposed view."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.register_buffer("view", torch.arange(6.0).view(2, 3).t())

    def forward(self, x):
        return self.two(self.one(x))


def trained(optimizer=torch.optim.Adam):
    torch.manual_seed(0)
    model = Tied()
    steps = optimizer(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.randn(5, 4)).square().sum().backward()
        steps.step()
    return model, steps


def save_epochs(folder, *epochs):
    for epoch in epochs:
        checkpoint.save(folder, Checkpoint(epoch, {"t": torch.full((100,), float(epoch))}, {"epoch": epoch}))


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_tied_weights_and_optimizer_state_come_back_and_train_on_alike(tmp_path, optimizer):
    model, steps = trained(optimizer)
    tensors, state = checkpoint.pack(model, steps, order=torch.Generator().get_state())
    checkpoint.save(tmp_path, Checkpoint(1, tensors, state))
    other = Tied()
    other_steps = optimizer(other.parameters(), lr=99.0)
    extra = checkpoint.unpack(checkpoint.load_latest(tmp_path), other, other_steps)
    assert other.two.weight is other.one.weight and extra["order"].dtype == torch.uint8
    x = torch.randn(5, 4)
    for each, its in ((model, steps), (other, other_steps)):
        its.zero_grad()
        each(x).sum().backward()
        its.step()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))


def test_the_last_two_are_kept_and_the_newest_is_loaded(tmp_path):
    save_epochs(tmp_path, 8, 9, 10, 11)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0010", "epoch-0011"]
    assert checkpoint.load_latest(tmp_path).epoch == 11
    assert checkpoint.load_latest(tmp_path / "absent") is None


@pytest.mark.parametrize("name", [checkpoint.TENSORS, checkpoint.STATE, checkpoint.MANIFEST])
def test_a_flipped_byte_anywhere_falls_back_to_the_checkpoint_before_and_says_so(tmp_path, name, caplog):
    save_epochs(tmp_path, 1, 2)
    path = tmp_path / "epoch-0002" / name
    whole = path.read_bytes()
    for at in {0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2, len(whole) - 1}:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sugar_search"):
            found = checkpoint.load_latest(tmp_path)
        assert found.epoch == 1 and found.tensors["t"][0] == 1
        assert "epoch-0002 is damaged" in caplog.text and "the one before it is used" in caplog.text


@pytest.mark.parametrize("name", [checkpoint.TENSORS, checkpoint.STATE, checkpoint.MANIFEST])
def test_truncated_and_missing_files_fall_back_too(tmp_path, name):
    save_epochs(tmp_path, 1, 2)
    path = tmp_path / "epoch-0002" / name
    path.write_bytes(path.read_bytes()[:10])
    assert checkpoint.load_latest(tmp_path).epoch == 1
    path.unlink()
    assert checkpoint.load_latest(tmp_path).epoch == 1
    shutil.rmtree(tmp_path / "epoch-0001")
    assert checkpoint.load_latest(tmp_path) is None
    save_epochs(tmp_path, 2)  # written over the damaged one
    assert checkpoint.load_latest(tmp_path).epoch == 2


def test_a_draft_left_by_a_killed_process_is_ignored_and_cleared(tmp_path, monkeypatch):
    save_epochs(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", lambda self, target: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_epochs(tmp_path, 2)
    assert checkpoint.load_latest(tmp_path).epoch == 1 and len(list(tmp_path.iterdir())) == 2
    (tmp_path / "weights.safetensors").write_bytes(b"kept")
    checkpoint.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_an_unwritable_folder_is_one_error_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="folder must be writable"):
        save_epochs(tmp_path / "file", 1)
    with pytest.raises(FileError, match="folder must be writable"):
        checkpoint.save_weights(tmp_path / "file" / "weights.safetensors", Tied())


def test_weights_round_trip_and_refusals(tmp_path):
    model, path = trained()[0], tmp_path / "deep" / "weights.safetensors"
    checkpoint.save_weights(path, model)
    other = Tied()
    checkpoint.load_weights(path, other)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    with pytest.raises(FileError, match="of this arch"):
        checkpoint.load_weights(path, nn.Linear(4, 4))
    with pytest.raises(FileError, match="readable"):
        checkpoint.load_weights(tmp_path / "absent.safetensors", model)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileError, match="of this arch"):
        checkpoint.load_weights(path, model)
