"""Options become a plan, or one clear error before anything is written."""

import pytest

from sugar_search.errors import FileError, InputError, UnknownNameError
from sugar_search.search.pinned import load_baselines
from sugar_search.search.plan import PAPER_SEEDS, build_plan, fresh_seeds, parse_duration, run_seeds
from sugar_search.search.preflight import MAX_REPEATS, preflight


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("7m", 420), ("1h30m", 5400), ("2d", 172800), ("0.5h", 1800)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "7 minutes", "m", "nan", "1h-3m", "7x"])
def test_bad_durations(text):
    with pytest.raises(InputError, match="--time-budget must be a positive duration"):
        parse_duration(text)


def test_seeds_follow_the_papers_list_and_fresh_ones_never_overlap():
    assert run_seeds(5) == PAPER_SEEDS == (1, 10, 20, 25, 42)
    assert run_seeds(7) == (*PAPER_SEEDS, 43, 44)
    for confirm in range(5):
        assert len(set(fresh_seeds(confirm))) == confirm
        assert not set(run_seeds(MAX_REPEATS)) & set(fresh_seeds(confirm))


def test_baselines_are_the_eleven_of_table_4():
    titles = [s.title for s in load_baselines()]
    assert len(set(titles)) == 11
    assert titles[0] == "ReLU"
    assert {"B-SiLU(α=1.67)", "NeLU(α=0.01)", "NeLU(α=0.05)", "NeLU(α=0.1)"} <= set(titles)


def test_the_name_follows_the_identity(tmp_path):
    def name(**changes):
        return build_plan(**({"arch": "mlp", "dataset": "digits", "epochs": 2, "out": tmp_path} | changes)).name

    # What does not identify a study leaves the name alone, so that a rerun with more trials resumes it.
    assert (
        name()
        == name(dataset="DIGITS/8")
        == name(recipe="Digits")
        == name(trials=7)
        == name(workers=1)
        == name(engine="ray")
        == name(repeats=3)
        == name(arch="MLP")
    )
    changed = [name(seed=1), name(epochs=3), name(threads=2), name(space="families"), name(objective="accuracy")]
    changed += [name(arch="resnet18"), name(recipe="paper-b"), name(dataset="digits/32")]
    assert len({name(), *changed}) == len(changed) + 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arch": "resnet19"}, "did you mean resnet18"),
        ({"dataset": "digit"}, "did you mean digits"),
        ({"space": "familys"}, "did you mean families"),
        ({"space": "missing.toml"}, "existing file"),
        ({"recipe": "papr-b"}, "did you mean paper-b"),
        ({"objective": "acuracy"}, "did you mean accuracy"),
        ({"objective": "loss,loss"}, "each objective once"),
        ({"sampler": "tep"}, "did you mean tpe"),
        ({"engine": "cloud"}, "--engine must be local or ray"),
        ({"trials": -1}, "--trials must be 0 to"),
        ({"trials": 10**30}, "--trials must be 0 to"),
        ({"repeats": 10**30}, "--repeats must be 1 to 1000"),
        ({"threads": 10**30}, "--threads-per-trial must be 1 to"),
        ({"objective": ""}, "objective must be a known name"),
        ({"recipe": ""}, "recipe must be a known name"),
        ({"study": ""}, "--study must be a plain name"),
        ({"dataset": "digits/33"}, "did you mean digits/32"),
        ({"repeats": 0}, "--repeats must be 1 to 1000"),
        ({"confirm": -1}, "--confirm must be 0 to"),
        ({"workers": -1}, "--workers must be 0 to"),
        ({"workers": 0, "engine": "ray"}, "--workers must be 1 to"),
        ({"threads": 0}, "--threads-per-trial must be 1 to"),
        ({"gpus": -0.5}, "--gpus-per-trial must be 0 to"),
        ({"gpus": float("nan")}, "--gpus-per-trial must be 0 to"),
        ({"gpus": 512.0}, "must fit this machine's"),
        ({"seed": -1}, "--seed must be 0 to"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"trials": 0, "baselines": False}, "something to train"),
        ({"study": "../x"}, "--study must be a plain name"),
        ({"dataset": "regression/f1", "objective": "accuracy", "arch": "narrow_mlp"}, "needs class labels"),
        ({"dataset": "regression/f1", "arch": "resnet18"}, "resnet18 needs images"),
        ({"dataset": "regression/f1", "arch": "mlp", "recipe": "paper-b", "objective": "loss"}, "selects by accuracy"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(tmp_path, changes, words):
    options = {"arch": "mlp", "dataset": "digits", "epochs": 2, "out": tmp_path, "workers": 1, "gpus": 0} | changes
    with pytest.raises(InputError, match=words) as caught:
        preflight(build_plan(**options))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["file", "file/below", "n" * 300])
def test_the_results_folder_must_be_writable(tmp_path, out):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="results folder must be writable"):
        preflight(build_plan(arch="mlp", dataset="digits", epochs=1, out=tmp_path / out, workers=1, gpus=0))


@pytest.mark.parametrize("out", ["what?", "50%", "{SCHEMA_VERSION}", "a#b"])
def test_a_path_that_a_url_would_read_otherwise_is_refused(tmp_path, out):
    with pytest.raises(FileError, match="path must not hold"):
        build_plan(arch="mlp", dataset="digits", out=tmp_path / out)


def test_unknown_names_are_their_own_error():
    with pytest.raises(UnknownNameError):
        build_plan(arch="nope", dataset="digits")
