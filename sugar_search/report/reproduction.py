"""A table of the paper beside ours: published value, measured value, difference."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sugar_search.report.board import duration
from sugar_search.search.estimate import PlannedRuns, planned_runs, unlike_the_paper
from sugar_search.search.pinned import Entry, PinnedStudy, Table
from sugar_search.search.plan import Plan
from sugar_search.search.preflight import check_numbers
from sugar_search.search.records import Candidate, mean_std, title_of
from sugar_search.search.view import StudyView
from sugar_search.training.checkpoint import write_atomically

__all__ = ["dry_run_text", "results", "table_frame", "write_table"]

Studies = Sequence[tuple[PinnedStudy, StudyView]]
Plans = Sequence[tuple[PinnedStudy, Plan]]


def table_frame(studies: Studies) -> pd.DataFrame:
    """One row per configuration.

    Columns: arch, dataset, activation, SUGAR, paper and paper std (the paper's, in percent), ours, ours std and
    difference (test accuracy at the selected epoch, in percent and points), last (test accuracy after the last epoch,
    where the test set is what the epochs were selected by), seeds, failed (runs without a result), epochs.
    """
    return pd.DataFrame([_row(pinned, view, entry) for pinned, view in studies for entry in pinned.entries])


def _row(pinned: PinnedStudy, view: StudyView, entry: Entry) -> dict[str, Any]:
    key = (entry.surrogate.canonical, entry.sugar)
    found = next((c for c in view.candidates if (c.surrogate.canonical, c.sugar) == key), None)
    runs = [] if found is None else list(found.runs.values())
    tested = [view.test[r.run]["accuracy"] for r in runs if r.run in view.test]
    ours, ours_std = mean_std([100 * t for t in tested if t is not None])
    paper, paper_std = entry.published or (None, None)
    return {
        "arch": pinned.arch,
        "dataset": pinned.dataset,
        "activation": title_of(entry.surrogate, True),
        "SUGAR": entry.sugar,
        "paper": paper,
        "paper std": paper_std,
        "ours": ours,
        "ours std": ours_std,
        "difference": None if ours is None or paper is None else ours - paper,
        "last": _last(found, pinned),
        "seeds": len(tested),
        "failed": _failed(view, key),
        "epochs": max((r.epochs for r in runs), default=0),
        "state": "" if found is None else (found.reason or found.state.lower()),
    }


def _failed(view: StudyView, key: tuple[str, bool]) -> int:
    """Seeds of a row that ended without a result."""
    runs = [(seed, run.state) for t in view.trials if t.key == key for seed, run in t.runs.items()]
    return len({seed for seed, _ in runs} - {seed for seed, state in runs if state == "complete"})


def _last(found: Candidate | None, pinned: PinnedStudy) -> float | None:
    """Accuracy after the last epoch in percent, where the epochs' scores are those of the test set."""
    if found is None or pinned.validation != "test":
        return None
    return mean_std([100 * r.scores[-1] for r in found.runs.values()])[0]


def results(table: Table, plans: Plans, studies: Studies, *, as_json: bool) -> str:
    """The table for the terminal, with what makes it another experiment than the paper's; or as one JSON object."""
    frame = table_frame(studies)
    remarks = [said for pinned, plan in plans if (said := unlike_the_paper(pinned, plan, read=True))]
    if frame["failed"].any():
        bad = [t for _, view in studies for t in view.trials if t.state == "FAIL"]
        remarks += [f"{t.title}: {t.reason}" for t in bad]
    if frame["last"].notna().any():
        remarks.append("ours: best epoch on the test set, as in the paper; last epoch: no selection at all")
    if as_json:
        rows = json.loads(frame.to_json(orient="records"))
        return json.dumps({"event": "table", "table": table.name, "rows": rows, "remarks": remarks})
    return "\n".join([_grid(table, frame), *remarks])


def write_table(table: Table, studies: Studies, out: Path) -> str:
    """Writes `out/<table>.csv` atomically and says where.

    Raises:
        FileError: the folder cannot be written.
    """
    path = out / f"{table.name}.csv"
    write_atomically(path, table_frame(studies).to_csv(index=False).encode())
    return f"  table       {path}"


def dry_run_text(table: Table, plans: Plans, *, as_json: bool) -> str:
    """Every run with its estimated time on this machine, and what all of them need."""
    for _, plan in plans:
        check_numbers(plan)
    found = [planned_runs(plan) for _, plan in plans]
    runs = [run for each in found for run in each.runs]
    if as_json:
        return json.dumps({"event": "dry-run", "table": table.name, "runs": runs, **_total(found)})
    lines = [f"{run['study']}  {run['run']}  {run['title']}, seed {run['seed']}: {run['state']}" for run in runs]
    for (pinned, plan), each in zip(plans, found, strict=True):
        todo = sum(run["state"] == "to do" for run in each.runs)
        counted = f"{len(each.runs)} runs of {plan.recipe.epochs} epochs ({todo} to do)"
        one, all_of_them = duration(each.seconds_per_run), duration(each.seconds)
        lines.append(
            f"{pinned.arch} on {pinned.dataset}: {counted}, about {one} each on {each.device}; "
            f"{max(1, plan.workers)} at a time: about {all_of_them}"
        )
        lines += [said] if (said := unlike_the_paper(pinned, plan)) else []
    total = _total(found)
    needs = f"{total['disk_bytes'] / 2**30:.1f} GiB of disk, {total['download_bytes'] / 2**20:.0f} MiB to download"
    lines.append(f"{table.name}: {len(runs)} runs, about {duration(total['seconds'])} on this machine; {needs}")
    lines.append("Times are of computing alone, from a few measured steps.")
    return "\n".join(lines)


def _total(found: Sequence[PlannedRuns]) -> dict[str, Any]:
    """Studies run one after the other, so times add up, and folders empty as runs end. A dataset counts once."""
    datasets = {each.dataset: each for each in found}.values()
    return {
        "seconds": sum(each.seconds for each in found),
        "disk_bytes": max(each.disk_bytes for each in found) + sum(each.data_bytes for each in datasets),
        "download_bytes": sum(each.download_bytes for each in datasets),
    }


def _grid(table: Table, frame: pd.DataFrame) -> str:
    """The table for the terminal."""
    from rich.console import Console
    from rich.table import Table as Grid

    grid = Grid(title=table.description, title_justify="left")
    columns = ["arch", "activation", "SUGAR", "paper", "ours", "difference", "seeds", "epochs"]
    if frame["last"].notna().any():
        columns.insert(6, "last epoch")
    for name in columns:
        grid.add_column(name, justify="left" if name in ("arch", "activation", "SUGAR") else "right", no_wrap=True)
    for row in frame.to_dict("records"):
        cells = {
            "arch": row["arch"],
            "activation": row["activation"],
            "SUGAR": "yes" if row["SUGAR"] else "no",
            "paper": _cell(row["paper"], row["paper std"]),
            "ours": _cell(row["ours"], row["ours std"]),
            "difference": "-" if pd.isna(row["difference"]) else f"{row['difference']:+.2f}",
            "last epoch": _cell(row["last"], None),
            "seeds": str(row["seeds"]) + (f" ({row['failed']} failed)" if row["failed"] else ""),
            "epochs": str(row["epochs"]),
        }
        grid.add_row(*(cells[name] for name in columns))
    console = Console(width=140, force_terminal=False)
    with console.capture() as capture:
        console.print(grid)
    return capture.get()


def _cell(mean: float | None, std: float | None) -> str:
    if mean is None or pd.isna(mean):
        return "-"
    return f"{mean:.2f}" if std is None or pd.isna(std) else f"{mean:.2f} ± {std:.2f}"
