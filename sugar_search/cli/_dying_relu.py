"""`sugar-search reproduce table2 | table3`: the dying-ReLU study, one population a function."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from sugar_search.errors import FileError, InputError

__all__ = ["TABLES", "run"]

TABLES = ("table2", "table3")
OPTIONS = ("table", "dry_run", "surrogate", "target", "epochs", "repeats", "out", "as_json")
FOLDER = "table2"  # both tables are of the same runs
RUN_BYTES = 200_000  # checkpoints of one narrow network, old and new, and its records
SAY_SECONDS = 10.0  # between two lines of progress


def run(
    context: typer.Context,
    table: str,
    *,
    dry_run: bool,
    surrogates: Sequence[str],
    targets: Sequence[str],
    epochs: int | None,
    repeats: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Trains what is not trained yet, then writes and prints the tables.

    Raises:
        InputError: an option has no meaning here or breaks a rule.
        typer.Exit: a signal came; functions that are done stay done.
    """
    for option in context.params:
        if option not in OPTIONS and str(context.get_parameter_source(option)).endswith("COMMANDLINE"):
            known = ", ".join("--" + name.replace("as_", "").replace("_", "-") for name in OPTIONS[1:])
            raise InputError(f"{table} takes only {known}", "--" + option.replace("_", "-"), "drop it")
    from sugar_search.report.dying_relu import dry_run_text, table_text, write_tables
    from sugar_search.report.folder import write_run_json
    from sugar_search.search.interrupt import Interrupted, signals
    from sugar_search.search.store import hold
    from sugar_search.training.dying_relu import run_target, study_of

    study = study_of(surrogates, epochs=epochs, repeats=repeats, targets=targets)
    folder = out / FOLDER
    if dry_run:
        print(dry_run_text(table, study, folder, as_json=as_json))
        return
    identity = {name: study.identity(name) for name in study.targets}
    arguments = {"table": table, "surrogate": surrogates, "target": targets, "epochs": epochs, "repeats": repeats}
    folder.mkdir(parents=True, exist_ok=True)
    lock = hold(folder)
    found = []
    try:
        _check_disk(folder, study.repeats * len(study.methods))
        write_run_json(folder, arguments, identity)
        with signals():
            for name in study.targets:
                found.append(run_target(study, name, folder, _progress(name, study.recipe.epochs, as_json=as_json)))
    except Interrupted as stop:
        print("stopped; functions that are done stay done. The same command goes on", file=sys.stderr)
        raise typer.Exit(128 + stop.number) from None
    finally:
        lock.release()
        if found:
            paths = write_tables(study, found, folder)
            print(table_text(table, study, found, as_json=as_json))
            print("\n".join(f"  written     {path}" for path in paths), file=sys.stderr if as_json else sys.stdout)


def _check_disk(folder: Path, runs: int) -> None:
    need, free = RUN_BYTES * runs + 50 * 2**20, shutil.disk_usage(folder).free
    if free < need:
        rule = f"the disk of the results folder must have {need / 2**20:.0f} MiB free"
        raise FileError(rule, f"{free / 2**20:.0f} MiB", "free some space or choose another --out")


def _progress(target: str, epochs: int, *, as_json: bool) -> Callable[[int, float], None]:
    """Says now and then how far a function is: to standard error for a person, or as an event."""
    said = time.monotonic()

    def watch(epoch: int, seconds: float) -> None:
        nonlocal said
        if epoch < epochs and time.monotonic() - said < SAY_SECONDS:
            return
        said = time.monotonic()
        if as_json:
            print(json.dumps({"event": "epoch", "target": target, "epoch": epoch, "seconds": seconds}), flush=True)
        else:
            print(f"{target}: epoch {epoch} of {epochs}, {seconds:.0f} s", file=sys.stderr, flush=True)

    return watch
