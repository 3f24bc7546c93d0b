"""How members end: complete, stopped, diverged; and how a population that was interrupted goes on."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sugar_search.errors import DivergedError, FileError, InputError
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training import checkpoint, loop
from sugar_search.training.population import begin, members, store, train
from sugar_search.training.population.block import Block
from sugar_search.training.population.train import train_population
from sugar_search.training.state import finished

SURROGATES = [None, "bsilu", "nelu", "selu"]
OPTIMIZERS = [
    {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    {"name": "sgd", "lr": 0.05},
    {"name": "adamw", "lr": 0.01, "decay_one_dimensional": False},
]


@pytest.fixture
def make_members(make_spec):
    def make(where, count=4, **changes):
        given = [None if each is None else surrogate(each).to_dict() for each in SURROGATES[:count]]
        changes = {"epochs": 4, **changes}
        # Two of a seed share the order of their samples.
        return [make_spec(f"{where}/{i}", seed=i // 2, surrogate=each, **changes) for i, each in enumerate(given)]

    return make


def left(specs):
    return [(Path(spec.folder) / "weights.safetensors").read_bytes() for spec in specs]


def scores(steps, number):
    return [(step[number].epoch, step[number].train_loss, step[number].validation) for step in steps]


def test_a_complete_member_is_a_complete_run(make_members, monkeypatch):
    specs = make_members("m", selection={"metric": "accuracy", "epoch": "best"})
    steps = list(train_population(specs))
    monkeypatch.setattr(loop, "start", None)  # nothing is trained again
    for number, spec in enumerate(specs):
        assert list(loop.train(spec)) == finished(spec) == [step[number] for step in steps]
        tested = loop.evaluate_test(spec)
        assert tested.accuracy > 0.3
        assert sorted(path.name for path in Path(spec.folder).iterdir()) == ["finished.json", "weights.safetensors"]
    monkeypatch.setattr(members, "run_epoch", None)
    assert list(train_population(specs)) == steps


def test_the_best_epoch_is_kept(make_members, monkeypatch):
    """Where later epochs are worse, the weights are those of a run that ended at the best one."""
    options = {"optimizer": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "constant"}}
    specs = make_members("m", selection={"metric": "loss", "epoch": "best"}, epochs=3, **options)
    judged = members.judged
    worse = iter(range(10))

    def spoiled(block, split, look):
        at = next(worse)
        return [replace(each, loss=each.loss + 10 * (at > 0) + at) for each in judged(block, split, look)]

    monkeypatch.setattr(members, "judged", spoiled)
    population = train_population(specs)
    next(population)
    population.send({0})
    list(population)
    monkeypatch.setattr(members, "judged", judged)
    short = make_members("n", selection={"metric": "loss", "epoch": "best"}, epochs=1, **options)
    list(train_population(short))
    assert left(specs[1:]) == left(short[1:])


def test_a_member_that_is_stopped_leaves_the_others_alone(make_members):
    alone, specs = make_members("a"), make_members("m")
    list(train_population(alone))
    population = train_population(specs)
    steps = [next(population), population.send({1, 3})]
    steps += [population.send({99}), population.send(None)]
    assert [sorted(step) for step in steps] == [[0, 1, 2, 3], [0, 2], [0, 2], [0, 2]]
    assert next(population, None) is None
    assert left([specs[0], specs[2]]) == left([alone[0], alone[2]])
    assert not Path(specs[1].folder).exists()


def test_stopping_all_ends_it(make_members):
    population = train_population(make_members("m"))
    next(population)
    with pytest.raises(StopIteration):
        population.send({0, 1, 2, 3})


def test_a_member_that_diverges_ends_alone_in_the_words_of_the_loop(make_members):
    options = {"dataset": "regression/f4", "loss": "mse-sum", "optimizer": {"name": "sgd", "lr": 0.02}}
    options |= {"schedule": {"name": "constant"}, "arch": "narrow_mlp", "epochs": 1}
    specs, solo = make_members("m", **options), make_members("s", **options)
    said = {}
    for number, spec in enumerate(solo):
        try:
            list(loop.train(spec))
        except DivergedError as error:
            said[number] = str(error)
    assert 0 < len(said) < len(specs)
    steps = list(train_population(specs))
    ended = {n: str(each) for step in steps for n, each in step.items() if isinstance(each, DivergedError)}
    assert ended == said
    assert [n for n, spec in enumerate(specs) if finished(spec)] == [n for n in range(4) if n not in said]


@pytest.fixture
def trained_epochs(monkeypatch):
    """The epochs that were trained, and by how many members."""
    seen = []
    original = members.run_epoch
    monkeypatch.setattr(
        members,
        "run_epoch",
        lambda block, *rest: (seen.append((rest[-1], len(block.members))), original(block, *rest))[1],
    )
    return seen


def interrupted(specs, epochs, stop=(), **options):
    """Trains for some epochs and closes the population."""
    population = train_population(specs, **options)
    for epoch in range(epochs):
        population.send(set(stop) if epoch == 1 else None)
    population.close()


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


def test_a_folder_that_vanishes_brings_no_other_member_down(make_members, monkeypatch):
    monkeypatch.setattr(train, "STORE_SECONDS", 0.0)
    whole, specs = make_members("w"), make_members("m")
    list(train_population(whole))
    population = train_population(specs)
    next(population)
    shutil.rmtree(specs[0].folder)
    next(population)
    assert not Path(specs[0].folder).exists()  # a study needs it no more: it does not come back
    save = checkpoint.save

    def raced(folder, saved):
        if folder == Path(specs[1].folder):
            raise FileError("the folder must be writable", folder, "gone") from FileNotFoundError()
        save(folder, saved)

    monkeypatch.setattr(checkpoint, "save", raced)
    assert len(list(population)) == 2
    assert left(specs[2:]) == left(whole[2:])


def test_a_full_disk_is_said(make_members, monkeypatch):
    monkeypatch.setattr(train, "STORE_SECONDS", 0.0)

    def full(folder, saved):
        raise FileError("the folder must be writable", folder, "no space") from OSError(28, "no space")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(FileError, match="no space"):
        next(train_population(make_members("m")))


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


def test_nothing_is_kept_where_nothing_is_asked_for(make_members):
    specs = make_members("m", epochs=1)
    assert len(list(train_population(specs, keep=False))) == 1
    assert not any(Path(spec.folder).exists() for spec in specs)


def test_dropping_members_keeps_each_row_with_its_member(make_members):
    seen = []
    original = Block.keep

    def watched(self, rows):
        original(self, rows)
        seen.append([member.number for member in self.members])

    population = train_population(make_members("m", epochs=2))
    next(population)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Block, "keep", watched)
        population.send({0})
    assert [sorted(each) for each in seen] == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threads": 2}, "may differ in surrogate, seed and options"),
        ({"recipe": {"batch_size": 5}}, "may differ in surrogate, seed and options"),
    ],
)
def test_members_of_another_kind_are_refused(make_members, changes, said):
    specs = make_members("m")
    if "recipe" in changes:
        changes = {"recipe": specs[0].recipe.model_copy(update=changes["recipe"])}
    specs[2] = replace(specs[2], **changes)
    with pytest.raises(InputError, match=said):
        next(train_population(specs))
    with pytest.raises(InputError, match="one member or more"):
        next(train_population([]))


def test_two_members_of_one_folder_are_refused(make_members):
    specs = make_members("m")
    specs[2] = replace(specs[2], folder=specs[0].folder + "/")
    with pytest.raises(InputError, match="a folder of its own"):
        next(train_population(specs))
    assert len(next(train_population(specs, keep=False))) == 4
