"""How members end: complete, stopped, diverged; and how a population that was interrupted goes on."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from sugar_search.errors import DivergedError, InputError
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training import loop
from sugar_search.training.population import members, store, train
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


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["momentum", "plain", "adamw"])
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
def test_an_interrupted_population_goes_on_with_the_same_bits(make_members, tmp_path, monkeypatch, optimizer, closed):
    options = {"optimizer": optimizer, "selection": {"metric": "loss", "epoch": "best"}}
    whole, specs = make_members("whole", **options), make_members("m", **options)
    steps = list(train_population(whole))
    folder = tmp_path / "population"
    monkeypatch.setattr(train, "STORE_SECONDS", 1e9 if closed else 0.0)
    population = train_population(specs, folder=folder)
    for _ in range(2):
        next(population)
    if closed:
        population.close()
    else:
        monkeypatch.setattr(store, "save", lambda *_: None)  # as after a kill: nothing more is written
        population.close()
        monkeypatch.undo()
    epochs = itertools.count(1)
    advance = members.Population.advance
    monkeypatch.setattr(members.Population, "advance", lambda self, epoch: (next(epochs), advance(self, epoch)))
    again = list(train_population(specs, folder=folder))
    assert next(epochs) == 3  # two epochs of four were left
    assert left(specs) == left(whole)
    for number in range(4):
        assert scores(again, number) == scores(steps, number)
    assert not list(folder.glob("epoch-*"))


def test_members_that_ended_are_remembered(make_members, tmp_path):
    """After an interruption a stopped member is asked for no more, and one that diverged is not trained again."""
    whole, specs = make_members("w"), make_members("m")
    list(train_population(whole))
    folder = tmp_path / "population"
    population = train_population(specs, folder=folder)
    next(population)
    population.send({3})
    population.close()
    steps = list(train_population(specs[:3], folder=folder))
    assert len(steps) == 4 and left(specs[:3]) == left(whole[:3])


def test_a_checkpoint_of_other_runs_is_not_used(make_members, tmp_path):
    folder = tmp_path / "population"
    population = train_population(make_members("m"), folder=folder)
    next(population)
    population.close()
    whole, others = make_members("w", batch_size=32), make_members("n", batch_size=32)
    list(train_population(whole))
    list(train_population(others, folder=folder))
    assert left(others) == left(whole)


def test_a_damaged_checkpoint_costs_an_epoch_at_most(make_members, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "STORE_SECONDS", 0.0)
    whole, specs, folder = make_members("w"), make_members("m"), tmp_path / "population"
    list(train_population(whole))
    population = train_population(specs, folder=folder)
    for _ in range(3):
        next(population)
    population.close()
    (folder / "epoch-0003" / "tensors.safetensors").write_bytes(b"x")
    list(train_population(specs, folder=folder))
    assert left(specs) == left(whole)


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
