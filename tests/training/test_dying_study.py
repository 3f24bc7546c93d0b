"""The dying-ReLU study: categories, what is trained, and that finished runs are read and not trained again."""

import json
import math
from itertools import pairwise

import pytest
import torch

from sugar_search.errors import InputError
from sugar_search.models._model import build_model
from sugar_search.training import dying_runs
from sugar_search.training.dying_relu import category, study_of
from sugar_search.training.dying_runs import read_target, run_target, seconds_per_run
from sugar_search.training.recipe import load_recipe


def test_the_study_is_the_papers():
    study = study_of()
    assert list(study.targets) == ["f1", "f2", "f3", "f4"]
    assert [method.name for method in study.methods] == ["he", "rai", "B-SiLU(α=1.67)"]
    assert study.repeats == 100 and study.recipe == load_recipe("dying-relu")
    specs = [spec for method in study.methods for spec in study.specs("f4", method)]
    assert len(specs) == 300 == len({spec.digest for spec in specs})
    assert {spec.dataset for spec in specs} == {"regression/f4"}
    assert [spec.seed for spec in specs[:3]] == [0, 1, 2]
    for target in study.targets.values():
        for shares in target.shares.values():
            assert sum(shares.values()) == pytest.approx(100) and set(shares) == set(target.ranges)


@pytest.mark.parametrize("target", ["f1", "f2", "f3", "f4", "f4-printed"])
def test_a_loss_goes_to_its_range_or_to_the_nearest_by_ratio(target):
    ranges = study_of(targets=[target]).targets[target].ranges
    for name, (low, high) in ranges.items():
        assert {category(ranges, loss) for loss in (low, high, math.sqrt(low * high))} == {name}
    ordered = sorted(ranges, key=lambda name: ranges[name][0])
    for lower, upper in pairwise(ordered):
        border = math.sqrt(ranges[lower][1] * ranges[upper][0])
        assert category(ranges, border * 0.999) == lower
        assert category(ranges, border * 1.001) == upper
    assert category(ranges, 0.0) == ordered[0]
    assert category(ranges, 1e9) == ordered[-1] == "A"


def test_a_network_without_output_is_in_category_a():
    """On our data, whose batches are larger than the paper's loss hints at, a constant still counts as collapsed."""
    from sugar_search.data.regression import load

    study = study_of()
    for name, target in study.targets.items():
        targets = load(name).train.targets
        steps = math.ceil(len(targets) / study.recipe.batch_size)
        constant = (targets - targets.mean(dim=0)).square().sum().item() / steps
        assert category(target.ranges, constant) == "A"


def test_the_initialisation_of_lu_et_al():
    """In each row one entry, the bias included, is a draw from Beta(2, 1); the others have the stated deviation."""
    torch.manual_seed(0)
    rows = []
    for _ in range(400):
        model = build_model("narrow_mlp", (1,), 1, init="rai")
        rows += [torch.cat((layer.weight, layer.bias[:, None]), dim=1).detach() for layer in list(model)[3:-1:2]]
    rows = torch.cat(rows)
    assert rows.shape[1] == 3
    # A third of each column is from Beta(2, 1), of mean 2/3 and second moment 1/2; the rest is symmetric.
    assert torch.allclose(rows.mean(dim=0), torch.full((3,), 2 / 9), atol=0.02)
    variance = 0.6007**2 / 2
    assert torch.allclose(rows.square().mean(dim=0), torch.full((3,), (0.5 + 2 * variance) / 3), atol=0.02)
    # Never more than one draw from Beta a row: with two, negative entries would be rarer.
    negative = (rows < 0).float().mean()
    assert negative == pytest.approx(1 / 3, abs=0.01)
    with pytest.raises(InputError, match="must be one of he, rai, rai-later"):
        build_model("narrow_mlp", (1,), 1, init="lecun")


def test_he_is_the_default_and_unchanged():
    torch.manual_seed(3)
    one = build_model("narrow_mlp", (2,), 1).state_dict()
    torch.manual_seed(3)
    other = build_model("narrow_mlp", (2,), 1, init="he").state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not other["1.bias"].any()
    torch.manual_seed(3)
    later = build_model("narrow_mlp", (2,), 1, init="rai-later").state_dict()
    assert torch.equal(later["1.weight"], one["1.weight"]) and not later["1.bias"].any()
    assert later["3.bias"].all() and not torch.equal(later["3.weight"], one["3.weight"])


def test_a_function_is_trained_once(tmp_path, monkeypatch):
    study = study_of(["NeLU(alpha=0.05)"], epochs=2, repeats=3, targets=["f2"])
    seen = []
    result = run_target(study, "f2", tmp_path, lambda method, epoch, seconds: seen.append((method, epoch)))
    assert seen == [(method.name, epoch) for method in study.methods for epoch in (1, 2)]
    assert [(run.method, run.seed) for run in result.runs] == [
        (method.name, seed) for method in study.methods for seed in range(3)
    ]
    assert all(run.loss > 0 and run.validation_loss > 0 and 0 <= run.dead <= 1 for run in result.runs)
    paths = list(tmp_path.iterdir())
    assert {path.suffix for path in paths} == {".json"} and len(paths) == 3  # no checkpoint is left
    monkeypatch.setattr(dying_runs, "train_population", None)
    assert run_target(study, "f2", tmp_path) == read_target(study, "f2", tmp_path) == result
    paths[0].write_text(json.dumps({"target": "f2"}))
    assert len(read_target(study, "f2", tmp_path).runs) == 6
    with pytest.raises(TypeError):  # a damaged file is trained again
        run_target(study, "f2", tmp_path)


def test_another_surrogate_trains_its_own_runs_alone(tmp_path, monkeypatch):
    trained, whole = [], dying_runs.train_population

    def counted(specs, **options):
        trained.extend(
            (spec.recipe.arch["narrow_mlp"]["init"], spec.surrogate and spec.surrogate["name"]) for spec in specs
        )
        return whole(specs, **options)

    monkeypatch.setattr(dying_runs, "train_population", counted)
    for surrogates in ([], ["gelu"], ["gelu", "bsilu"]):
        run_target(study_of(surrogates, epochs=1, repeats=1, targets=["f1"]), "f1", tmp_path)
    assert trained == [("he", None), ("rai", None), ("he", "bsilu"), ("he", "gelu")]


def test_a_kill_before_the_checkpoints_are_removed_leaves_none_for_ever(tmp_path):
    study = study_of(epochs=2, repeats=1, targets=["f1"])
    run_target(study, "f1", tmp_path)
    for path in tmp_path.glob("*.json"):
        (path.with_suffix("") / "epoch-0001").mkdir(parents=True)
    run_target(study, "f1", tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_joined_study_is_the_same_as_one_of_all():
    one, other = study_of(["gelu"], targets=["f1"]), study_of(["bsilu", "elu"], targets=["f3"])
    both = other.joined(json.loads(json.dumps(one.about())))
    assert list(both.targets) == ["f1", "f3"]
    wanted = study_of(["gelu", "bsilu", "elu"], targets=["f1", "f3"])
    assert [method.name for method in both.methods] == [method.name for method in wanted.methods]
    for mine, theirs in zip(both.methods, wanted.methods, strict=True):
        assert mine.published == theirs.published and both.identity("f1", mine) == wanted.identity("f1", theirs)


def test_the_time_of_a_run_is_that_of_its_epochs(tmp_path):
    few, many = (seconds_per_run(study_of(repeats=3, epochs=epochs, targets=["f1"])) for epochs in (10, 1000))
    assert 0 < few < many


def test_other_epochs_are_another_study():
    def identities(*given, **options):
        study = study_of(*given, **options)
        return [study.identity("f1", method) for method in study.methods]

    assert identities(epochs=250) == identities()
    assert not set(identities(epochs=5)) & set(identities())
    assert not set(identities(repeats=7)) & set(identities())
    assert [a == b for a, b in zip(identities(["gelu"]), identities(), strict=True)] == [True, True, False]


def test_an_interrupted_function_goes_on(tmp_path):
    study = study_of(epochs=3, repeats=2, targets=["f1"])
    whole = run_target(study, "f1", tmp_path / "whole")

    def stop(method, epoch, seconds):
        if (method, epoch) == ("rai", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_target(study, "f1", tmp_path / "cut", stop)
    assert list((tmp_path / "cut").glob("f1-*/epoch-0002"))
    epochs = []
    again = run_target(study, "f1", tmp_path / "cut", lambda method, epoch, seconds: epochs.append((method, epoch)))
    assert again.runs == whole.runs
    assert epochs == [("rai", 1), ("rai", 2), ("rai", 3), *((study.methods[2].name, epoch) for epoch in (1, 2, 3))]
    assert len(list((tmp_path / "cut").iterdir())) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"repeats": 0}, "--repeats must be 1 to"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"targets": ["f5"]}, "f1, f2, f3, f4, f4-printed"),
        ({"surrogates": ["bsilu", "B-SiLU(alpha=1.67)"]}, "given once"),
        ({"surrogates": ["bsulu"]}, "did you mean bsilu"),
    ],
)
def test_bad_input(options, said):
    with pytest.raises(InputError, match=said):
        study_of(**options)
