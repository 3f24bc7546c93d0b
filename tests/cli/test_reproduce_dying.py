"""`sugar-search reproduce table2` and `table3`: trained, written, read again, refused in one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest


def test_the_tables_are_trained_once(sugar, tmp_path, monkeypatch):
    words = ["--epochs", "2", "--repeats", "3", "--target", "f2", "--target", "f4", "--out", str(tmp_path)]
    words += ["--surrogate", "x/(1 + x**2) + 1", "--surrogate", "bsilu"]
    out = sugar("reproduce", "table2", *words, "--dry-run").out
    assert "f2: 12 runs: to do" in out and "on one core of this machine, at most 2 MiB of disk" in out
    assert not list(tmp_path.iterdir())
    code, out, err = sugar("reproduce", "table2", *words)
    assert code == 0
    assert "24 runs of 2 epochs" in out and "B-SiLU(α=1.67)" in out and "f4, he: epoch 2 of 2" in err
    folder = tmp_path / "table2"
    frame = pd.read_csv(folder / "table2.csv")
    assert frame.groupby(["target", "method"])["count"].sum().tolist() == [3] * 8
    assert frame["paper"].notna().sum() == 12  # a surrogate of one's own has no published share
    assert len(pd.read_csv(folder / "runs.csv")) == 24
    about = json.loads((folder / "run.json").read_text())
    assert about["arguments"]["repeats"] == 3 and set(about["identity"]["functions"]) == {"f2", "f4"}

    from sugar_search.training import dying_runs

    monkeypatch.setattr(dying_runs, "train_population", None)  # nothing is trained again
    code, out, _ = sugar("reproduce", "table3", *words, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and events[-1]["table"] == "table3"
    assert [row["category"] for row in events[-1]["rows"] if row["method"] == "all"] == ["A", "D", "A", "D"]
    assert "f2: 12 runs: done" in sugar("reproduce", "table2", *words, "--dry-run")[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_an_epoch_keeps_that_epoch_and_the_functions_before(sugar, tmp_path, monkeypatch, number):
    from sugar_search.training.population import members

    words = ["reproduce", "table2", "--epochs", "4", "--repeats", "2", "--target", "f1", "--target", "f2", "--json"]
    assert sugar(*words, "--out", tmp_path / "whole").code == 0
    seen, original = [], members.run_epoch

    def epoch(block, split, look, at):
        seen.append(at)
        if len(seen) == 19:  # the third by the second method, of the second function
            os.kill(os.getpid(), number)
        return original(block, split, look, at)

    monkeypatch.setattr(members, "run_epoch", epoch)
    cut = tmp_path / "cut"
    code, out, err = sugar(*words, "--out", cut)
    assert code == 128 + number
    assert "not complete: 1 of 2 functions" in json.loads(out.splitlines()[-1])["remarks"]
    (said,) = [line for line in err.splitlines() if "written" not in line]
    assert said.startswith("stopped; everything finished is saved. Go on with: sugar-search reproduce table2")
    assert list(cut.glob("table2/f2-*/epoch-0003")) and not list(cut.glob("table2/f1-*/"))
    code, out, _ = sugar(*words, "--out", cut)
    assert code == 0
    assert seen == [1, 2, 3, 4] * 6
    rows = pd.read_csv(cut / "table2" / "runs.csv")
    assert rows.equals(pd.read_csv(tmp_path / "whole" / "table2" / "runs.csv"))


def test_a_signal_in_the_last_epoch_keeps_its_function(sugar, tmp_path, monkeypatch):
    from sugar_search.training.population import members

    original = members.run_epoch

    def epoch(block, split, look, at):
        if at == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(block, split, look, at)

    monkeypatch.setattr(members, "run_epoch", epoch)
    words = ["reproduce", "table2", "--epochs", "2", "--repeats", "1", "--target", "f1", "--out", tmp_path]
    # Each method's file is written before the signal is raised.
    assert [sugar(*words).code for _ in range(4)] == [143, 143, 143, 0]
    monkeypatch.setattr(members, "run_epoch", None)  # nothing is trained again
    assert sugar(*words).code == 0


def test_a_signal_ends_a_real_process_in_one_line_with_a_checkpoint(tmp_path):
    code = "from sugar_search.cli import _dying_relu, main; _dying_relu.SAY_SECONDS = 0; main()"
    words = ["reproduce", "table3", "--epochs", "1000000", "--repeats", "1", "--target", "f1", "--out", str(tmp_path)]
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stderr.readline().startswith("f1, he: epoch 1 of 1000000")
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (143, "")
    *lines, last = err.splitlines()
    assert last.startswith("stopped; everything finished is saved. Go on with: sugar-search reproduce table3")
    assert all(line.startswith("f1, he: epoch ") for line in lines)
    assert len(list(tmp_path.glob("table2/f1-*/epoch-*"))) == 1


@pytest.fixture(scope="module")
def one(sugar, tmp_path_factory):
    """A study of one function: the words for it, and its results folder."""
    folder = tmp_path_factory.mktemp("one")
    words = ["reproduce", "table2", "--epochs", "1", "--repeats", "2", "--target", "f1", "--out", folder]
    assert sugar(*words).code == 0
    return words, folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--epochs", "2"], "epochs: 1 -> 2"),
        (["--repeats", "3"], "repeats: 2 -> 3"),
    ],
)
def test_another_study_in_the_same_folder_is_refused(sugar, one, change, said):
    words, folder = one
    before = {path: path.read_bytes() for path in folder.glob("table2/*")}
    for more in ([], ["--dry-run"]):
        code, out, err = sugar(*words, *change, *more)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1 and said in err and "choose another --out" in err
    after = {path: path.read_bytes() for path in folder.glob("table2/*")}
    assert after == before


def test_other_functions_and_surrogates_join_the_study_of_a_folder(sugar, one):
    """Their rows join those that are there: a part or a variation does not take the place of what was before."""
    words, folder = one
    before = pd.read_csv(folder / "table2" / "runs.csv")
    assert sugar(*words, "--target", "f3").code == 0
    code, out, _ = sugar(*words, "--surrogate", "gelu")
    assert code == 0 and "GELU" in out and "B-SiLU" not in out and "f3" not in out
    assert sugar(*words).code == 0
    about = json.loads((folder / "table2" / "run.json").read_text())["identity"]
    assert set(about["functions"]) == {"f1", "f3"} and list(about["surrogates"]) == ["B-SiLU(α=1.67)", "GELU"]
    after = pd.read_csv(folder / "table2" / "runs.csv")
    assert after.groupby(["target", "method"], sort=False).size().to_dict() == {
        ("f1", "he"): 2,
        ("f1", "rai"): 2,
        ("f1", "B-SiLU(α=1.67)"): 2,
        ("f1", "GELU"): 2,
        ("f3", "he"): 2,
        ("f3", "rai"): 2,
        ("f3", "B-SiLU(α=1.67)"): 2,
    }
    assert after[: len(before)].equals(before)


def test_a_folder_that_cannot_be_made_is_one_line(sugar, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere" / "deep")
    for path in (tmp_path / "file" / "x", tmp_path / "gone", tmp_path / ("x" * 300)):
        code, out, err = sugar("reproduce", "table2", "--epochs", "1", "--repeats", "1", "--out", path)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1 and "the results folder must be writable" in err


def test_a_disk_that_is_full_is_found_before_anything_is_made(sugar, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: (Path(path).stat(), usage._replace(free=2**20))[1])
    code, out, err = sugar("reproduce", "table2", "--out", tmp_path / "some" / "results")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and "MiB free" in err
    assert not list(tmp_path.iterdir())


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
