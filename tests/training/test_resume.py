"""Runs that were interrupted go on with the same bits, or begin anew and say so."""

import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from torch import nn
from training_runs import curve, weights

from sugar_search.errors import FileError
from sugar_search.training import checkpoint, loop, network
from sugar_search.training.checkpoint import load_weights
from sugar_search.training.loop import evaluate_test, train
from sugar_search.training.metrics import evaluate
from sugar_search.training.run import selected
from sugar_search.training.state import WEIGHTS

CROPS = {"crop": "padded", "padding": 2, "flip": 0.5}
PICTURES = {**CROPS, "auto_augment": "rand-m9-mstd0.5-inc1", "erase_probability": 0.5, "erase_mode": "pixel"}


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "lr": 0.05, "momentum": 0.9}, {"name": "adamw", "lr": 0.01}])
def test_interrupted_at_any_epoch_equals_uninterrupted(make_spec, drawing, optimizer):
    straight = make_spec("straight", optimizer=optimizer)
    whole = list(train(straight))
    for stop in (1, 2, 3):
        paused = make_spec(f"paused{stop}", optimizer=optimizer)
        epochs = train(paused)
        for _ in range(stop):
            next(epochs)
        epochs.close()
        torch.manual_seed(stop)  # the caller's random state must not matter
        assert curve(train(paused)) == curve(whole)
        assert weights(paused) == weights(straight)


def test_a_convolutional_run_resumes_with_its_running_statistics(make_spec, monkeypatch):
    def build(arch, shape, outputs, **options):
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, outputs))

    monkeypatch.setattr(network, "build_model", build)
    straight, paused = make_spec("straight"), make_spec("paused")
    next(train(paused))
    assert curve(train(paused)) == curve(train(straight)) and weights(paused) == weights(straight)


@pytest.mark.parametrize(
    ("changes", "loaders"),
    [
        ({"augment": CROPS}, 0),
        ({"augment": PICTURES}, 0),
        ({"augment": PICTURES}, 1),
        ({"augment": CROPS, "mix": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0}, "label_smoothing": 0.1}, 0),
        ({"ema": {"decay": 0.9}, "accumulate": 2, "optimizer": {"name": "adamw", "lr": 0.01}}, 0),
        (
            {
                "augment": PICTURES,
                "mix": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0},
                "ema": {"decay": 0.9},
                "accumulate": 2,
                "drop_last": True,
                "gradient_clip": 1.0,
                "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.05, "decay_one_dimensional": False},
                "schedule": {"name": "cosine", "warmup_epochs": 1.0},
                "selection": {"metric": "accuracy", "epoch": "best"},
            },
            1,
        ),
    ],
)
def test_a_resumed_run_gets_the_same_bits(make_run, changes, loaders):
    straight = make_run("straight", **changes)
    whole = curve(train(straight))
    for stop in (1, 2):
        paused = make_run(f"paused{stop}", loaders=loaders, **changes)
        epochs = train(paused)
        for _ in range(stop):
            next(epochs)
        epochs.close()
        assert curve(train(paused)) == whole and weights(paused) == weights(straight)
    assert evaluate_test(paused) == evaluate_test(straight)


def test_a_finished_run_is_told_again_and_not_trained_again(make_spec, monkeypatch):
    spec = make_spec()
    records = list(train(spec))
    monkeypatch.setattr(loop, "start", lambda spec: pytest.fail("trained again"))
    assert list(train(spec)) == records


def test_stopping_at_the_last_record_leaves_a_finished_run(make_spec):
    spec = make_spec(epochs=2)
    epochs = train(spec)
    next(epochs), next(epochs)
    epochs.close()
    assert evaluate_test(spec).accuracy > 0.3


def test_a_damaged_checkpoint_costs_one_epoch_and_no_difference(make_spec, caplog):
    straight, paused = make_spec("straight"), make_spec("paused")
    epochs = train(paused)
    for _ in range(3):
        next(epochs)
    epochs.close()
    path = Path(paused.folder) / "epoch-0003" / "tensors.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "sugar_search"):
        assert curve(train(paused)) == curve(train(straight))
    assert "epoch-0003 is damaged" in caplog.text and weights(paused) == weights(straight)


def test_what_another_run_left_in_a_folder_is_not_used(make_spec):
    fresh = curve(train(make_spec("fresh", seed=2)))
    next(train(make_spec("used")))
    assert curve(train(make_spec("used", seed=2))) == fresh
    assert curve(train(make_spec("used", seed=1))) != fresh
    assert curve(train(make_spec("used", seed=2))) == fresh
    with pytest.raises(FileError, match="only a complete run"):
        evaluate_test(make_spec("used", seed=3))
    with pytest.raises(FileError, match="only a complete run"):
        evaluate_test(make_spec("elsewhere"))


def test_the_weights_kept_are_those_of_the_epoch_in_the_records_whatever_was_killed_when(make_spec, monkeypatch):
    """Killed between the new weights and the checkpoint; the epoch, done again, ends otherwise (as it may on a GPU)."""
    from sugar_search.training import loop

    spec = make_spec(selection={"metric": "loss", "epoch": "best"}, optimizer={"name": "sgd", "lr": 0.02})

    def killed(training):
        raise KeyboardInterrupt

    run = train(spec)
    kept = [next(run) for _ in range(2)]
    assert kept[1].validation.loss < kept[0].validation.loss  # the second epoch is the best so far
    monkeypatch.setattr(loop, "store", killed)
    with pytest.raises(KeyboardInterrupt):
        next(run)
    both = {Path(spec.folder) / f"weights-{epoch:04d}.safetensors" for epoch in (2, 3)}
    assert both <= set(Path(spec.folder).iterdir())  # either epoch may turn out the best
    monkeypatch.undo()
    real = loop._epoch

    def worse(training, epoch, forward):
        record = real(training, epoch, forward)
        return dataclasses.replace(record, validation=dataclasses.replace(record.validation, loss=9.0))

    monkeypatch.setattr(loop, "_epoch", worse)
    history = list(train(spec))
    assert selected(spec.recipe, history).epoch == 2
    monkeypatch.undo()
    data = network.load_data(spec)
    model = network.build_network(spec, data)
    load_weights(Path(spec.folder) / WEIGHTS, model)
    assert evaluate(model, data.validation, spec.recipe).loss == pytest.approx(kept[1].validation.loss, rel=1e-6)
    assert not list(Path(spec.folder).glob("weights-*"))


def damaged(folder, monkeypatch):
    for path in folder.glob("epoch-*/tensors.safetensors"):
        path.write_bytes(b"x")


def of_another_run(folder, monkeypatch):
    rewritten(folder, run="another")


def of_an_older_version(folder, monkeypatch):
    rewritten(folder, history=[{"epoch": 1}])


def of_a_population(folder, monkeypatch):
    saved = checkpoint.load_latest(folder)
    checkpoint.save(folder, checkpoint.Checkpoint(saved.epoch, {}, {"layout": "", "members": {}}))


def of_other_tensors(folder, monkeypatch):
    saved = checkpoint.load_latest(folder)
    tensors = {name: each for name, each in saved.tensors.items() if name != "extra/order"}
    checkpoint.save(folder, checkpoint.Checkpoint(saved.epoch, tensors, saved.state))


def of_other_layers(folder, monkeypatch):
    build = network.build_model
    monkeypatch.setattr(network, "build_model", lambda *each, **o: build(*each, **o).append(nn.Linear(10, 10)))


def rewritten(folder, **changes):
    saved = checkpoint.load_latest(folder)
    checkpoint.save(folder, checkpoint.Checkpoint(saved.epoch, saved.tensors, {**saved.state, **changes}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (damaged, "holds damaged checkpoints alone"),
        (of_another_run, "holds checkpoints of another run"),
        (of_an_older_version, "holds a checkpoint that cannot be read (KeyError('validation'))"),
        (of_a_population, "holds checkpoints of another run"),
        (of_other_tensors, "holds a checkpoint that cannot be read (KeyError('order'))"),
        (of_other_layers, "holds checkpoints of a network of other layers"),
    ],
)
def test_checkpoints_that_are_not_used_are_removed_and_that_is_said_once(make_spec, caplog, monkeypatch, spoil, said):
    """Else they would be newer than those of the run that begins anew, which would be removed for them."""
    spec = make_spec()
    run = train(spec)
    for _ in range(3):
        next(run)
    run.close()
    spoil(Path(spec.folder), monkeypatch)
    run = train(spec)
    first = next(run)
    run.close()
    assert first.epoch == 1 and [each.name for each in Path(spec.folder).glob("epoch-*")] == ["epoch-0001"]
    assert f"{said}: the run begins anew" in caplog.text and caplog.text.count("begins anew") == 1
    caplog.clear()
    assert curve(train(spec)) == curve(train(make_spec("fresh")))
    assert not caplog.text and weights(spec) == weights(make_spec("fresh"))


def test_a_run_without_the_weights_of_its_best_epoch_begins_anew(make_spec, caplog):
    spec = make_spec(selection={"metric": "loss", "epoch": "best"})
    next(train(spec))
    (path,) = Path(spec.folder).glob("weights-*")
    path.unlink()
    list(train(spec))
    assert caplog.text.count("lacks the weights of its best epoch: the run begins anew") == 1
    assert evaluate_test(spec).accuracy > 0.3
