"""The tables of the dying-ReLU study: shares, intervals and loss ranges of given runs."""

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest

from sugar_search.report.dying_relu import (
    dry_run_text,
    loss_frame,
    runs_frame,
    share_frame,
    table_text,
    write_tables,
)
from sugar_search.training.dying_relu import Result, Run, study_of

# 10 runs a method; f1's ranges are 0.0003-0.6299 (C), 10.5453-11.0175 (B), 15.5818-15.7392 (A).
LOSSES = {
    "he": [15.6] * 8 + [16.2, None],
    "rai": [15.7] * 4 + [11.0] * 3 + [0.1, 0.2, 1e-9],
    "B-SiLU(α=1.67)": [10.6, 5.0] + [0.3] * 8,
}


@pytest.fixture
def study():
    return study_of(repeats=10, targets=["f1"])


@pytest.fixture
def found():
    runs = [
        Run(
            method, seed, loss, loss, 0.5, None if loss is not None else "diverged in epoch 1: the training loss is nan"
        )
        for method, losses in LOSSES.items()
        for seed, loss in enumerate(losses)
    ]
    return [Result("f1", tuple(runs), 83.0)]


def test_shares_and_their_intervals(study, found):
    frame = share_frame(study, found).set_index(["method", "category"])
    shares = {method: list(frame.loc[method]["ours"]) for method in LOSSES}
    assert shares == {"he": [90, 0, 0], "rai": [40, 30, 30], "B-SiLU(α=1.67)": [0, 20, 80]}
    assert list(frame.loc["he"]["paper"]) == [93.6, 4.2, 2.2] and set(frame.loc["he"]["paper_runs"]) == {1000}
    assert set(frame.loc["B-SiLU(α=1.67)"]["paper_runs"]) == {100}
    assert list(frame.loc["he"]["diverged"]) == [1, 1, 1]
    # Wilson's interval of 3 in 10: 10.8 to 60.3 %.
    assert frame.loc["rai", "B"]["low"] == pytest.approx(10.8, abs=0.05)
    assert frame.loc["rai", "B"]["high"] == pytest.approx(60.3, abs=0.05)
    assert (frame["low"] <= frame["ours"] + 1e-9).all() and (frame["ours"] <= frame["high"] + 1e-9).all()


def test_loss_ranges(study, found):
    frame = loss_frame(study, found).set_index(["category", "method"])
    a = frame.loc["A", "all"]
    assert (a["ours_low"], a["ours_high"], a["runs"], a["outside"]) == (15.6, 16.2, 13, 1)
    assert (a["paper_low"], a["paper_high"]) == (15.5818, 15.7392)
    own = frame.loc["B", "B-SiLU(α=1.67)"]
    assert (own["ours_low"], own["ours_high"], own["outside"]) == (5.0, 10.6, 1)
    assert frame.loc["C", "he"]["runs"] == 0 and pd.isna(frame.loc["C", "he"]["ours_low"])
    assert frame["runs"].xs("all", level="method").sum() == 29


def test_every_run_has_its_row(study, found):
    frame = runs_frame(study, found)
    assert len(frame) == 30 and frame["category"].isna().sum() == 1
    assert list(frame[~frame["inside"]]["loss"].dropna()) == [16.2, 1e-9, 5.0]


@pytest.mark.parametrize("table", ["table2", "table3"])
def test_what_is_printed(study, found, table):
    text = table_text(table, study, found, as_json=False)
    assert "30 runs of 250 epochs in 1m23s of computing" in text
    assert "3 of 30 losses lie outside the paper's ranges" in text
    assert "1 runs diverged" in text and "not complete" not in text
    assert ("93.6*  90.0 (60 to 98)" in text) == (table == "table2")
    assert ("15.5818 to 15.7392" in text) == (table == "table3")
    event = json.loads(table_text(table, study, found, as_json=True))
    assert event["table"] == table and len(event["rows"]) == (9 if table == "table2" else 12)
    assert len(event["remarks"]) == (5 if table == "table2" else 4)
    assert ("* from Lu et al." in text) == (table == "table2")  # no star is shown in the other


def test_a_part_says_so(found):
    assert "not complete: 1 of 2 functions" in table_text(
        "table2", study_of(targets=["f1", "f2"]), found, as_json=False
    )


def test_files(study, found, tmp_path):
    paths = write_tables(study, found, tmp_path)
    assert [path.name for path in paths] == ["table2.csv", "table3.csv", "runs.csv"]
    table = pd.read_csv(paths[0])
    assert len(table) == 9 and table["count"].sum() == 29
    assert len(pd.read_csv(paths[2])) == 30
    assert len(list(tmp_path.iterdir())) == 3


def test_a_dry_run_tells_what_is_left(study, tmp_path):
    def said(table, **options):
        return dry_run_text(table, study, tmp_path, disk=3 * 2**20, **options)

    text = said("table2", as_json=False)
    assert "f1: 30 runs: to do" in text and "on one core of this machine, at most 3 MiB of disk" in text
    for number, method in enumerate(study.methods):
        assert json.loads(said("table3", as_json=True))["targets"] == [
            {"target": "f1", "runs": 30, "left": 30 - 10 * number, "state": "to do"}
        ]
        runs = [asdict(Run(method.name, seed, 0.1, 0.1, 0.1)) for seed in range(10)]
        content = json.dumps({"target": "f1", "runs": runs, "seconds": 1.0})
        (tmp_path / f"f1-{study.identity('f1', method)}.json").write_text(content)
    event = json.loads(said("table3", as_json=True))
    assert event["targets"] == [{"target": "f1", "runs": 30, "left": 0, "state": "done"}]
    assert (event["seconds"], event["disk_bytes"]) == (0.0, 3 * 2**20)


def test_what_some_methods_lack_of_a_function_has_no_rows(study, found):
    part = replace(found[0], runs=found[0].runs[:20])
    assert set(share_frame(study, [part])["method"]) == {"he", "rai"}
