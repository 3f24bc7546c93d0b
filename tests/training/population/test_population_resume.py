"""How a population that was interrupted goes on, whoever is in it by then."""

from pathlib import Path

import pytest
import torch
from population_runs import interrupted, left, scores

from sugar_search.errors import DivergedError
from sugar_search.training import loop
from sugar_search.training.population import begin, members, store, train
from sugar_search.training.population.train import train_population

OPTIMIZERS = [
    {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    {"name": "sgd", "lr": 0.05},
    {"name": "adamw", "lr": 0.01, "decay_one_dimensional": False},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["momentum", "plain", "adamw"])
@pytest.mark.parametrize("keep", [True, False], ids=["own folders", "one folder"])
def test_an_interrupted_population_goes_on_with_the_same_bits(make_members, tmp_path, optimizer, keep, trained_epochs):
    options = {"optimizer": optimizer, "selection": {"metric": "loss", "epoch": "best"}}
    whole, specs = make_members("whole", **options), make_members("m", **options)
    steps = list(train_population(whole))
    folder = tmp_path / "population"
    interrupted(specs, 2, folder=folder, keep=keep)
    assert folder.exists() != keep
    trained_epochs.clear()
    again = list(train_population(specs, folder=folder, keep=keep))
    assert trained_epochs == [(3, 4), (4, 4)]
    for number in range(4):
        assert scores(again, number) == scores(steps, number)
    if keep:
        assert left(specs) == left(whole)
        assert not list(tmp_path.rglob("m/**/epoch-*"))


def test_a_kill_costs_no_stored_epoch(make_members, monkeypatch, trained_epochs):
    whole, specs = make_members("w"), make_members("m")
    list(train_population(whole))
    monkeypatch.setattr(train, "STORE_SECONDS", 0.0)
    population = train_population(specs)
    for _ in range(3):
        next(population)
    monkeypatch.setattr(store, "save", None)  # as after a kill: nothing more is written
    population.close()  # each member has its third epoch already
    monkeypatch.undo()
    list(train_population(specs))
    assert left(specs) == left(whole)


def test_who_goes_on_together_may_change(make_members, trained_epochs):
    """One was stopped, one is alone, one is new, the others have other numbers: no finished epoch is trained again."""
    whole, specs = make_members("w"), make_members("m")
    list(train_population(whole))
    interrupted(specs[:3], 2, stop={0})
    assert not Path(specs[0].folder).exists()
    assert all(Path(spec.folder, "epoch-0002").exists() for spec in specs[1:3])
    interrupted(specs[2:3], 3)
    trained_epochs.clear()
    steps = list(train_population([specs[3], specs[2], specs[1]]))
    # The new one; with the one after two epochs; with the one after three.
    assert trained_epochs == [(1, 1), (2, 1), (3, 2), (4, 3)]
    assert left(specs[1:]) == left(whole[1:])
    assert [sorted(step) for step in steps] == [[0, 1, 2]] * 4


def test_members_that_wait_may_be_stopped(make_members, trained_epochs):
    whole, specs = make_members("w"), make_members("m")
    list(train_population(whole))
    interrupted(specs[:2], 3)
    trained_epochs.clear()
    population = train_population(specs)
    next(population)
    steps = [population.send({0}), *population]
    assert trained_epochs == [(1, 2), (2, 2), (3, 2), (4, 3)]
    assert [sorted(step) for step in steps] == [[1, 2, 3]] * 3
    assert left(specs[1:]) == left(whole[1:]) and not Path(specs[0].folder).exists()


def test_closing_while_members_wait_loses_nothing(make_members, trained_epochs):
    specs = make_members("m")
    interrupted(specs[:2], 3)
    interrupted(specs, 1)
    trained_epochs.clear()
    list(train_population(specs))
    assert trained_epochs == [(2, 2), (3, 2), (4, 4)]


def test_adam_keeps_its_steps_where_members_meet(make_members):
    options = {"optimizer": {"name": "adam", "lr": 0.01}}
    whole, specs = make_members("w", **options), make_members("m", **options)
    list(train_population(whole))
    interrupted(specs[::2], 2)
    list(train_population(specs))
    assert left(specs) == left(whole)


@pytest.mark.parametrize("keep", [True, False], ids=["own folders", "one folder"])
def test_a_checkpoint_that_is_not_used_is_removed(make_members, tmp_path, keep, trained_epochs):
    """Else it would be newer than those of the run that begins anew, which would be removed for it."""
    folder = tmp_path / "population"
    interrupted(make_members("m"), 3, keep=keep, folder=folder)
    others = make_members("m", batch_size=32)
    interrupted(others, 1, keep=keep, folder=folder)
    assert {path.name for path in tmp_path.rglob("epoch-*")} == {"epoch-0001"}
    trained_epochs.clear()
    list(train_population(others, keep=keep, folder=folder))
    assert trained_epochs == [(2, 4), (3, 4), (4, 4)]


def test_checkpoints_of_solo_runs_and_of_members_are_told_apart(make_members):
    specs, whole = make_members("m", count=2), make_members("w", count=2)
    list(train_population(whole))
    solo = loop.train(specs[0])
    next(solo)
    solo.close()
    interrupted(specs, 2)
    assert len(list(loop.train(specs[1]))) == 4
    list(train_population(specs[:1]))
    assert left(specs[:1]) == left(whole[:1])


def test_a_network_of_other_layers_begins_anew(make_members, monkeypatch, trained_epochs):
    specs = make_members("m")
    interrupted(specs, 2)
    build = begin.build_network
    monkeypatch.setattr(begin, "build_network", lambda *each: build(*each).append(torch.nn.Linear(10, 10)))
    list(train_population(specs))
    assert [epoch for epoch, _ in trained_epochs] == [1, 2, 1, 2, 3, 4]


def test_a_damaged_checkpoint_costs_an_epoch_at_most(make_members, monkeypatch, trained_epochs):
    monkeypatch.setattr(train, "STORE_SECONDS", 0.0)
    whole, specs = make_members("w"), make_members("m")
    list(train_population(whole))
    interrupted(specs, 3)
    damaged = Path(specs[1].folder) / "epoch-0003"
    (damaged / "tensors.safetensors").write_bytes(b"x")
    trained_epochs.clear()
    population = train_population(specs)
    next(population)
    assert not damaged.exists()
    list(population)
    assert trained_epochs == [(3, 1), (4, 4)]
    assert left(specs) == left(whole)


def test_an_interruption_stores_whole_epochs_alone(make_members, monkeypatch, trained_epochs):
    whole, specs = make_members("w"), make_members("m")
    list(train_population(whole))
    population = train_population(specs)
    next(population)
    with pytest.raises(KeyboardInterrupt):  # between two epochs
        population.throw(KeyboardInterrupt)
    assert all(Path(spec.folder, "epoch-0001").exists() for spec in specs)
    judged = members.judged

    def cut(*_):
        raise KeyboardInterrupt

    population = train_population(specs)
    next(population)
    monkeypatch.setattr(members, "judged", cut)
    with pytest.raises(KeyboardInterrupt):  # the weights are those of the second epoch by now
        next(population)
    population.close()
    assert not any(Path(spec.folder, "epoch-0002").exists() for spec in specs)
    monkeypatch.setattr(members, "judged", judged)
    list(train_population(specs))
    assert left(specs) == left(whole)


def test_a_diverged_member_of_one_folder_is_not_trained_again(make_members, tmp_path, trained_epochs):
    options = {"dataset": "regression/f4", "loss": "mse-sum", "optimizer": {"name": "sgd", "lr": 0.02}}
    options |= {"schedule": {"name": "constant"}, "arch": "narrow_mlp", "epochs": 2}
    specs, folder = make_members("m", **options), tmp_path / "population"
    population = train_population(specs, folder=folder, keep=False)
    first = next(population)
    population.close()
    trained_epochs.clear()
    again = train_population(specs, folder=folder, keep=False)
    assert {n: str(each) for n, each in next(again).items()} == {n: str(each) for n, each in first.items()}
    assert not trained_epochs and any(isinstance(each, DivergedError) for each in first.values())


@pytest.mark.parametrize(
    ("epoch", "cost", "stored"),
    [
        (0.3, 0.0, [4, 8]),  # once a second has passed
        (1.5, 0.0, [1, 2, 3, 4, 5, 6, 7, 8, 9]),  # each long epoch
        (1.5, 1.0, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (0.9, 0.1, [2, 5, 8]),  # the second after 2.5 s, of which 0.1 are 4 %
        (5 / 8, 100.0, [2]),  # the next is due after 10 s, and would be the 18th
        (0.99, 100.0, [2]),
    ],
)
def test_how_often_checkpoints_are_written(make_members, monkeypatch, epoch, cost, stored):
    seen, now = [], [0.0]

    def takes(seconds, note=lambda self, *rest: None):
        def work(self, *rest):
            now[0] += seconds
            note(self, *rest)

        return work

    monkeypatch.setattr(train, "time", type("Clock", (), {"monotonic": lambda: now[0]}))
    monkeypatch.setattr(members.Population, "advance", takes(epoch))
    monkeypatch.setattr(members.Population, "step", lambda self, number: {})
    monkeypatch.setattr(members.Population, "finish", lambda self: None)
    monkeypatch.setattr(members.Population, "store", takes(cost, lambda self: seen.append(current[0])))
    current = [1]
    for _ in train_population(make_members("m", epochs=10)):
        current[0] += 1
    assert seen == stored
