"""How members end: complete, stopped, diverged, refused, or without their folder."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from population_runs import left

from sugar_search.errors import DivergedError, FileError, InputError
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training import checkpoint, loop
from sugar_search.training.population import members, train
from sugar_search.training.population.block import Block
from sugar_search.training.population.train import Stop, train_population
from sugar_search.training.state import finished


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


@pytest.mark.parametrize("stopped", [{1}, {0, 1, 2, 3}])
def test_members_that_are_stopped_as_it_closes_leave_nothing(make_members, stopped):
    specs = make_members("m")
    population = train_population(specs)
    next(population)
    with pytest.raises(Stop):
        population.throw(Stop(stopped))
    assert [number for number, spec in enumerate(specs) if not Path(spec.folder).exists()] == sorted(stopped)
    assert all(Path(spec.folder, "epoch-0001").exists() for number, spec in enumerate(specs) if number not in stopped)


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


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_each_member_must_be_servable(make_spec, order):
    """Plain ReLU is served whether or not SUGAR is asked for; an activation of a surrogate's own is not."""
    specs = [make_spec("elu", sugar=False, surrogate=surrogate("elu").to_dict()), make_spec("relu", sugar=False)]
    with pytest.raises(InputError, match="own activation"):
        next(train_population([specs[at] for at in order]))


def test_two_members_of_one_folder_are_refused(make_members):
    specs = make_members("m")
    specs[2] = replace(specs[2], folder=specs[0].folder + "/")
    with pytest.raises(InputError, match="a folder of its own"):
        next(train_population(specs))
    assert len(next(train_population(specs, keep=False))) == 4
