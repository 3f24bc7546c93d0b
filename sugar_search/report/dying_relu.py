"""Tables 2 and 3 of the paper beside what was trained here, for the terminal, as CSV files and as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sugar_search.report.board import duration
from sugar_search.training.checkpoint import write_atomically
from sugar_search.training.dying_relu import CATEGORIES, Result, Run, Study, category
from sugar_search.training.dying_runs import read_target, seconds_per_run

__all__ = ["TABLES", "dry_run_text", "loss_frame", "runs_frame", "share_frame", "table_text", "write_tables"]

TABLES = ("table2", "table3")
TITLES = {"he": "ReLU, He", "rai": "ReLU, RAI"}
OF_OTHERS = ("he", "rai")  # methods whose shares the paper takes from Lu et al.
CONFIDENCE = 0.95
TOLERANCE = 5e-5  # of a printed loss: four decimals


def runs_frame(study: Study, results: Sequence[Result]) -> pd.DataFrame:
    """One row per run; `inside` tells whether its loss lies in the paper's range of its category."""
    return pd.DataFrame([_run_row(study, result, run) for result in results for run in result.runs])


def _run_row(study: Study, result: Result, run: Run) -> dict[str, Any]:
    ranges = study.targets[result.target].ranges
    name = None if run.loss is None else category(ranges, run.loss)
    inside = name is not None and run.loss is not None and _inside(ranges[name], run.loss)
    return {
        "target": result.target,
        "method": run.method,
        "seed": run.seed,
        "category": name,
        "inside": inside,
        "loss": run.loss,
        "validation_loss": run.validation_loss,
        "dead": run.dead,
        "reason": run.reason,
    }


def _inside(ends: tuple[float, float], loss: float) -> bool:
    return ends[0] - TOLERANCE <= loss <= ends[1] + TOLERANCE


def share_frame(study: Study, results: Sequence[Result]) -> pd.DataFrame:
    """Table 2: one row per function, method and category, shares in percent with the ends of a 95 % Wilson interval.

    A method without runs of a function has no rows there.
    """
    runs, rows = runs_frame(study, results), []
    for result in results:
        target = study.targets[result.target]
        for method in study.methods:
            own = runs[(runs["target"] == result.target) & (runs["method"] == method.name)]
            if not len(own):
                continue
            paper = target.shares.get(method.published or "", {})
            for name in target.ranges:
                count = int((own["category"] == name).sum())
                low, high = _wilson(count, len(own))
                rows.append(
                    {
                        "target": result.target,
                        "method": method.name,
                        "category": name,
                        "paper": paper.get(name),
                        "paper_runs": _paper_runs(method.published),
                        "ours": 100 * count / len(own),
                        "low": 100 * low,
                        "high": 100 * high,
                        "count": count,
                        "runs": len(own),
                        "diverged": int(own["loss"].isna().sum()),
                    }
                )
    return pd.DataFrame(rows)


def _paper_runs(published: str | None) -> int | None:
    return None if published is None else 1000 if published in OF_OTHERS else 100


def _wilson(count: int, runs: int) -> tuple[float, float]:
    """The interval of a share in which it lies with 95 % confidence (Wilson 1927)."""
    from scipy.stats import binomtest

    found = binomtest(count, runs).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def loss_frame(study: Study, results: Sequence[Result]) -> pd.DataFrame:
    """Table 3: smallest and largest loss of each function's categories, in all runs and by method, beside the paper's.

    `outside` counts runs whose loss the paper's range of their category does not hold.
    """
    runs, rows = runs_frame(study, results), []
    for result in results:
        target = runs[runs["target"] == result.target]
        for name, (low, high) in study.targets[result.target].ranges.items():
            for method in ["all", *(each.name for each in study.methods)]:
                own = target[target["category"] == name]
                own = own if method == "all" else own[own["method"] == method]
                rows.append(
                    {
                        "target": result.target,
                        "category": name,
                        "method": method,
                        "paper_low": low,
                        "paper_high": high,
                        "ours_low": own["loss"].min() if len(own) else None,
                        "ours_high": own["loss"].max() if len(own) else None,
                        "runs": len(own),
                        "outside": int((~own["inside"].astype(bool)).sum()),
                    }
                )
    return pd.DataFrame(rows)


def write_tables(study: Study, results: Sequence[Result], folder: Path) -> list[Path]:
    """Writes table2.csv, table3.csv and runs.csv, each atomically; returns their paths.

    Raises:
        FileError: the folder cannot be written.
    """
    frames = {"table2": share_frame, "table3": loss_frame, "runs": runs_frame}
    paths = []
    for name, frame in frames.items():
        paths.append(folder / f"{name}.csv")
        write_atomically(paths[-1], frame(study, results).to_csv(index=False).encode())
    return paths


def table_text(table: str, study: Study, found: Sequence[Result], *, as_json: bool) -> str:
    """A table for the terminal, with what it needs to be read; or as one JSON object."""
    frame = share_frame(study, found) if table == "table2" else loss_frame(study, found)
    remarks = list(_remarks(table, study, found))
    if as_json:
        rows = json.loads(frame.to_json(orient="records"))
        return json.dumps({"event": "table", "table": table, "rows": rows, "remarks": remarks})
    return "\n".join([_shares(study, frame) if table == "table2" else _losses(frame), *remarks])


def dry_run_text(table: str, study: Study, folder: Path, *, disk: int, as_json: bool) -> str:
    """What would be trained, what is done already, and what the rest takes.

    Args:
        table: "table2" or "table3".
        study: what would be trained.
        folder: of the results.
        disk: bytes that the study needs.
        as_json: as one JSON object.
    """
    each = len(study.methods) * study.repeats
    left = {name: each - len(read_target(study, name, folder).runs) for name in study.targets}
    seconds = sum(left.values()) * seconds_per_run(study) if any(left.values()) else 0.0
    if as_json:
        targets = [
            {"target": name, "runs": each, "left": runs, "state": "to do" if runs else "done"}
            for name, runs in left.items()
        ]
        event = {"event": "dry-run", "table": table, "epochs": study.recipe.epochs, "targets": targets}
        return json.dumps({**event, "seconds": seconds, "disk_bytes": disk})
    methods = ", ".join(TITLES.get(method.name, method.name) for method in study.methods)
    lines = [f"{name}: {each} runs: {_state(runs, each)}" for name, runs in left.items()]
    total = f"{table}: {each * len(left)} runs of {study.recipe.epochs} epochs, {study.repeats} of each: {methods}"
    needs = f"about {duration(seconds)} on one core of this machine, at most {disk / 2**20:.0f} MiB of disk"
    return "\n".join([*lines, total, needs])


def _state(left: int, runs: int) -> str:
    return "done" if not left else "to do" if left == runs else f"{left} to do"


def _remarks(table: str, study: Study, found: Sequence[Result]) -> Iterator[str]:
    runs = runs_frame(study, found)
    seconds = sum(result.seconds for result in found)
    yield f"{len(runs)} runs of {study.recipe.epochs} epochs in {duration(seconds)} of computing"
    yield "loss: of the last training epoch, summed over a batch and its outputs, averaged over batches"
    outside = int((~runs["inside"].astype(bool) & runs["loss"].notna()).sum())
    yield (f"{outside} of {len(runs)} losses lie outside the paper's ranges; each counts to the range nearest by ratio")
    if table == "table2":
        yield "paper: * from Lu et al. (arXiv 1903.06733), 1,000 runs, f4 with 20 hidden layers; others 100 runs"
    if lost := int(runs["loss"].isna().sum()):
        yield f"{lost} runs diverged and are in no category"
    if len(found) < len(study.targets):
        yield f"not complete: {len(found)} of {len(study.targets)} functions"


def _shares(study: Study, frame: pd.DataFrame) -> str:
    """Table 2, one line per function and method."""
    lines = [["function", "method", *(f"{name}: paper  ours (95 %)" for name in CATEGORIES)]]
    for (target, method), rows in frame.groupby(["target", "method"], sort=False):
        cells = {row["category"]: row for row in rows.to_dict("records")}
        star = "*" if method in OF_OTHERS else ""
        shown = [_share(cells[name], star) if name in cells else "-" for name in CATEGORIES]
        lines.append([str(target), TITLES.get(str(method), str(method)), *shown])
    return _grid(f"{study.description}, in % of the runs", lines)


def _share(row: Mapping[str, Any], star: str) -> str:
    paper = "-" if pd.isna(row["paper"]) else f"{row['paper']:.1f}{star}"
    return f"{paper}  {row['ours']:.1f} ({row['low']:.0f} to {row['high']:.0f})"


def _losses(frame: pd.DataFrame) -> str:
    """Table 3, one line per function, category and method that has runs there."""
    lines = [["function", "category", "method", "paper", "ours", "runs", "outside"]]
    for row in frame.to_dict("records"):
        if row["runs"] or row["method"] == "all":
            ours = "-" if not row["runs"] else f"{row['ours_low']:.4f} to {row['ours_high']:.4f}"
            paper = f"{row['paper_low']:.4f} to {row['paper_high']:.4f}" if row["method"] == "all" else ""
            name = TITLES.get(row["method"], row["method"])
            lines.append([row["target"], row["category"], name, paper, ours, str(row["runs"]), str(row["outside"])])
    return _grid("Losses of each category", lines)


def _grid(title: str, lines: Sequence[Sequence[str]]) -> str:
    """Cells in columns, the first line as their names."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in lines[0]:
        grid.add_column(name, no_wrap=True)
    for line in lines[1:]:
        grid.add_row(*line)
    console = Console(width=170, force_terminal=False)
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
