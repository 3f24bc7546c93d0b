"""`sugar-search reproduce table2` and `table3`: trained, written, read again, refused in one line."""

import json
import sys

import pandas as pd
import pytest

from sugar_search.cli import main


@pytest.fixture
def sugar(monkeypatch, capsys, tmp_path):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["sugar-search", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return stop.value.code, said.out, said.err

    return call


def test_the_tables_are_trained_once(sugar, tmp_path, monkeypatch):
    words = ["--epochs", "2", "--repeats", "3", "--target", "f2", "--target", "f4", "--out", str(tmp_path)]
    words += ["--surrogate", "x/(1 + x**2) + 1", "--surrogate", "bsilu"]
    assert "f2: 12 runs: to do" in sugar("reproduce", "table2", *words, "--dry-run")[1]
    assert not list(tmp_path.iterdir())
    code, out, err = sugar("reproduce", "table2", *words)
    assert code == 0
    assert "24 runs of 2 epochs" in out and "B-SiLU(α=1.67)" in out and "f4: epoch 2 of 2" in err
    folder = tmp_path / "table2"
    frame = pd.read_csv(folder / "table2.csv")
    assert frame.groupby(["target", "method"])["count"].sum().tolist() == [3] * 8
    assert frame["paper"].notna().sum() == 12  # a surrogate of one's own has no published share
    assert len(pd.read_csv(folder / "runs.csv")) == 24
    about = json.loads((folder / "run.json").read_text())
    assert about["arguments"]["repeats"] == 3 and set(about["identity"]) == {"f2", "f4"}

    from sugar_search.training import dying_relu

    monkeypatch.setattr(dying_relu, "train_population", None)  # nothing is trained again
    code, out, _ = sugar("reproduce", "table3", *words, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and events[-1]["table"] == "table3"
    assert [row["category"] for row in events[-1]["rows"] if row["method"] == "all"] == ["A", "D", "A", "D"]
    assert "f2: 12 runs: done" in sugar("reproduce", "table2", *words, "--dry-run")[1]


def test_a_signal_keeps_what_is_done(sugar, tmp_path, monkeypatch):
    from sugar_search.search.interrupt import Interrupted
    from sugar_search.training import dying_relu

    train = dying_relu.train_population

    def stopped(specs, **options):
        if specs[0].dataset == "regression/f2":
            raise Interrupted(15)
        return train(specs, **options)

    monkeypatch.setattr(dying_relu, "train_population", stopped)
    words = ["reproduce", "table2", "--epochs", "1", "--repeats", "2", "--out", str(tmp_path)]
    code, out, err = sugar(*words)
    assert code == 143
    assert "stopped: 1 of 4 functions" in out and "The same command goes on" in err
    monkeypatch.setattr(dying_relu, "train_population", train)
    code, out, _ = sugar(*words)
    assert code == 0 and "24 runs of 1 epochs" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table2", "--arch", "mlp"], "table2 takes only --dry-run, --surrogate"),
        (["table3", "--protocol", "paper"], "got '--protocol'"),
        (["table2", "--workers", "2"], "got '--workers'"),
        (["table2", "--target", "f9"], "f1, f2, f3, f4, f4-printed"),
        (["table2", "--repeats", "0"], "--repeats must be 1 to 10,000"),
        (["table2", "--epochs", "0"], "epochs must be 1 or more"),
        (["table2", "--surrogate", "bsulu"], "did you mean bsilu"),
        (["table4", "--target", "f1"], "--target belongs to table2 and table3"),
        (["fig1", "--target", "f1"], "fig1 takes --out and --json only"),
        (["table22"], "did you mean table2"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(sugar, tmp_path, words, said):
    code, out, err = sugar("reproduce", *words, "--out", str(tmp_path / "results"))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and said in err
    assert not (tmp_path / "results").exists()
