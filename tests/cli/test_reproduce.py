"""`sugar-search reproduce`: the paper's tables listed, and a small table trained, resumed and compared."""

import json
import re

import pandas as pd
import pytest

from sugar_search import catalog

SMALL = """
description = "A small table"
seeds = [1, 10, 20, 25, 42]
[[study]]
arch = "mlp"
dataset = "digits"
recipe = "digits"
epochs = 2
trial = [
    { surrogate = "relu", published = [90.5, 0.4] },
    { surrogate = "gelu", sugar = false, published = [91.25, 0.5] },
    { surrogate = "gelu", published = [92.0, 0.6] },
]
[[study]]
arch = "narrow_mlp"
dataset = "digits"
recipe = "digits"
epochs = 2
validation = "test"
trial = [{ surrogate = "bsilu", published = [20.0, 1.0] }]
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The catalog with one more table, called small."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    shipped = catalog.find

    def find(kind):
        return {**shipped(kind), "small": path} if kind == "trials" else shipped(kind)

    monkeypatch.setattr(catalog, "find", find)


@pytest.fixture
def options(tmp_path):
    return ["--workers", "0", "--gpus-per-trial", "0", "--out", str(tmp_path / "results")]


def test_a_table_is_trained_compared_and_resumed(small, sugar, options, tmp_path):
    code, out, _ = sugar("reproduce", "small", "--repeats", "2", *options)
    assert code == 0
    table = pd.read_csv(tmp_path / "results" / "small.csv")
    assert list(table["activation"]) == ["ReLU", "GELU", "GELU", "B-SiLU(α=1.67)"]
    assert list(table["SUGAR"]) == [True, False, True, True]
    assert (table["seeds"] == 2).all() and (table["epochs"] == 2).all()
    assert list(table["paper"]) == [90.5, 91.25, 92.0, 20.0]
    assert ((table["ours"] - table["paper"]) - table["difference"]).abs().max() < 1e-9
    assert table["ours"][:3].between(20, 100).all()
    # GELU itself and ReLU with GELU's derivative are different networks.
    assert table["ours"][1] != table["ours"][2]
    assert table["last"].notna().tolist() == [False, False, False, True]
    assert "90.50 ± 0.40" in out and "last epoch: no selection at all" in out
    assert "not the paper's experiment" not in out  # 2 of 2 epochs, all images
    runs = pd.concat(pd.read_csv(path) for path in (tmp_path / "results").glob("*/runs.csv"))
    assert len(runs) == 8 and runs["run"].is_unique
    assert runs["test_accuracy"].notna().all()  # every row of the paper's tables is a test accuracy

    # Again with a third seed: only that one is trained.
    code, out, _ = sugar("reproduce", "small", "--repeats", "3", "--json", *options)
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [e["seed"] for e in events if e["event"] == "start"] == [20] * 4
    rows = next(e for e in events if e["event"] == "table")["rows"]
    assert [row["seeds"] for row in rows] == [3] * 4


def test_selecting_by_validation_samples_is_another_study_and_says_so(small, sugar, options, tmp_path):
    words = ["reproduce", "small", "--arch", "narrow_mlp", "--repeats", "1", "--epochs", "1"]
    assert sugar(*words, *options)[0] == 0
    code, out, _ = sugar(*words, "--protocol", "validation", *options)
    assert code == 0
    assert "1 of the paper's 2 epochs; epochs selected on validation samples" in out
    assert len(list((tmp_path / "results").glob("small-narrow_mlp-*/study.db"))) == 2


def test_filters_keep_rows(small, sugar, options):
    code, out, _ = sugar("reproduce", "small", "--surrogate", "gelu", "--dry-run", *options)
    assert code == 0
    assert "small: 10 runs" in out and "B-SiLU" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table7"], "did you mean table"),
        (["paper"], "what to reproduce must be a known name"),
        (["small", "--arch", "resnet"], "--arch must be a known name"),
        (["small", "--surrogate", "gelo"], "did you mean gelu"),
        (["small", "--arch", "narrow_mlp", "--surrogate", "gelu"], "a part of the table must remain"),
        (["small", "--protocol", "mine"], "--protocol must be paper or validation"),
        (["small", "--repeats", "0"], "--repeats must be 1"),
        (["small", "--epochs", "0"], "epochs must be 1 or more"),
        (["table4", "--offline", "--data-dir", "nowhere"], "cifar10 needs its files"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_writes_nothing(small, sugar, options, tmp_path, words, said):
    code, out, err = sugar("reproduce", *words, *options)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and said in err
    assert not (tmp_path / "results").exists()


@pytest.mark.long
@pytest.mark.parametrize(("table", "runs"), [("table1", 60), ("table4", 210), ("table5", 210)])
def test_a_dry_run_of_the_papers_tables_lists_every_run(sugar, options, tmp_path, table, runs):
    code, out, _ = sugar("reproduce", table, "--dry-run", "--data-dir", str(tmp_path / "none"), *options)
    assert code == 0
    assert len([line for line in out.splitlines() if line.endswith("to do")]) == runs
    assert re.search(rf"{table}: {runs} runs, about \d+h\d\dm on this machine; [\d.]+ GiB of disk, \d+ MiB", out)
    assert not (tmp_path / "results").exists()


def test_an_interrupted_table_goes_on_with_the_rows_that_are_asked_for(small, sugar, options, tmp_path):
    """The studies were planned whole; a later sitting that asks for one row trains that row alone."""
    from sugar_search.search.pinned import load_table
    from sugar_search.search.reproduction import table_plans
    from sugar_search.search.sitting import run_sitting

    def stop(event):
        if event["event"] == "start":
            raise KeyboardInterrupt

    (_, plan), *_ = table_plans(load_table("small"), workers=0, gpus=0, out=tmp_path / "results", data_dir=None)
    with pytest.raises(KeyboardInterrupt):
        run_sitting(plan, stop)
    words = ["reproduce", "small", "--arch", "mlp", "--surrogate", "gelu", "--repeats", "1"]
    _, out, _ = sugar(*words, "--dry-run", *options)
    assert "small: 2 runs" in out
    code, out, _ = sugar(*words, "--json", *options)
    started = [json.loads(line) for line in out.splitlines() if json.loads(line)["event"] == "start"]
    assert code == 0
    assert [(e["title"], e["seed"]) for e in started] == [("GELU, non-SUGAR", 1), ("GELU", 1)]
    _, out, _ = sugar(*words, "--dry-run", *options)
    assert out.count(": done") == 2 and "(0 to do)" in out


def test_a_run_that_failed_by_accident_is_tried_again_and_one_that_diverged_is_not(
    small, sugar, options, tmp_path, monkeypatch
):
    from sugar_search.errors import DivergedError
    from sugar_search.training import loop
    from sugar_search.training.population import servable

    train = loop.train

    def bad(spec):
        surrogate = spec.surrogate["name"]
        if surrogate == "relu":
            raise OSError("no space left on device")
        if spec.sugar:
            raise DivergedError(1, "the training loss is nan")
        return train(spec)

    words = ["reproduce", "small", "--arch", "mlp", "--repeats", "1", *options]
    monkeypatch.setattr(servable, "servable", lambda spec: "every run alone, by the loop")
    monkeypatch.setattr(loop, "train", bad)
    code, out, _ = sugar(*words)
    assert code == 0 and "0 (1 failed)" in out and "no space left on device" in out
    monkeypatch.setattr(loop, "train", train)
    assert sugar(*words)[0] == 0
    table = pd.read_csv(tmp_path / "results" / "small.csv")
    assert list(table["seeds"]) == [1, 1, 0] and list(table["failed"]) == [0, 0, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "-1"], "--workers must be 0 to 1024"),
        (["--engine", "cloud"], "--engine must be local or ray"),
        (["--threads-per-trial", "100000000000"], "--threads-per-trial must be"),
        (["--loader-workers", "-3"], "--loader-workers must be 0"),
        (["--repeats", "300000000"], "--repeats must be"),
        (["--gpus-per-trial", "nan"], "--gpus-per-trial must be"),
    ],
)
def test_a_dry_run_checks_its_options(small, sugar, tmp_path, words, said):
    code, out, err = sugar("reproduce", "small", "--dry-run", "--out", str(tmp_path / "results"), *words)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("where", [["0"], pytest.param(["1", "--compile"], marks=pytest.mark.long)])
def test_a_table_with_every_option_of_a_real_one(small, sugar, tmp_path, where):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    words = ["--threads-per-trial", "1", "--gpus-per-trial", "0", "--loader-workers", "1", "--engine", "local"]
    words += ["--storage", storage, "--out", str(tmp_path / "results"), "--workers", *where]
    command = ["reproduce", "small", "--arch", "mlp", "--surrogate", "relu", "--repeats", "1", "--epochs", "1", *words]
    code, out, err = sugar(*command)
    assert code == 0, err
    code, out, _ = sugar(*command, "--dry-run")
    assert ": done" in out  # read from the storage that was given


def test_a_storage_that_cannot_be_opened_is_said_before_any_data_is_touched(sugar, options, tmp_path):
    words = ["reproduce", "table4", "--data-dir", str(tmp_path / "none"), "--offline", "--storage", "nonsense://x"]
    code, _, err = sugar(*words, *options)
    assert code == 2 and "--storage must be" in err
