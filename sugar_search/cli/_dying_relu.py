"""`sugar-search reproduce table2 | table3`: the dying-ReLU study, one population a function."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from sugar_search.errors import FileError, InputError, StudyError

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
        StudyError: the folder holds another study, or another process works on it.
        typer.Exit: a signal came; functions that are done stay done.
    """
    for option in context.params:
        if option not in OPTIONS and str(context.get_parameter_source(option)).endswith("COMMANDLINE"):
            known = ", ".join("--" + name.replace("as_", "").replace("_", "-") for name in OPTIONS[1:])
            raise InputError(f"{table} takes only {known}", "--" + option.replace("_", "-"), "drop it")
    from sugar_search.cli._sitting import go_on
    from sugar_search.report.dying_relu import dry_run_text, table_text, write_tables
    from sugar_search.report.folder import write_run_json
    from sugar_search.search.interrupt import Interrupted, shielded, signals
    from sugar_search.search.store import hold
    from sugar_search.training.dying_relu import run_target, study_of

    study = study_of(surrogates, epochs=epochs, repeats=repeats, targets=targets)
    folder, about = out / FOLDER, study.about()
    if dry_run:
        _joined(folder, about)
        print(dry_run_text(table, study, folder, as_json=as_json))
        return
    arguments = {"table": table, "surrogate": surrogates, "target": targets, "epochs": epochs, "repeats": repeats}
    folder.mkdir(parents=True, exist_ok=True)
    lock = hold(folder)
    found = []
    try:
        identity = _joined(folder, about)
        _check_disk(folder, study.repeats * len(study.methods))
        with signals():
            write_run_json(folder, arguments, identity)
            for name in study.targets:
                watch = _progress(name, study.recipe.epochs, as_json=as_json)
                # A signal that comes in an epoch is raised after it: what was trained goes into a checkpoint.
                found.append(run_target(study, name, folder, watch, shielded))
    except Interrupted as stop:
        raise go_on(stop.number) from None
    finally:
        lock.release()
        if found:
            paths = write_tables(study, found, folder)
            print(table_text(table, study, found, as_json=as_json))
            print("\n".join(f"  written     {path}" for path in paths), file=sys.stderr if as_json else sys.stdout)


def _joined(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies the study of the folder, with its functions and those that are to come.

    Raises:
        StudyError: the folder holds another study.
    """
    from sugar_search.search.store import differences

    try:
        before = json.loads((folder / "run.json").read_bytes())["identity"]
        old = dict(before["functions"])
    except (OSError, ValueError, KeyError, TypeError):  # absent or damaged; results are named by what their runs are
        return dict(about)
    new = about["functions"]
    changed = differences({**about, "functions": None}, {**before, "functions": None})
    # The same but for what these three keys do not tell, a recipe for one.
    changed = changed or differences(*({name: each[name] for name in old if name in new} for each in (new, old)))
    if changed:
        rule = f"a results folder keeps what identifies its study ({changed})"
        raise StudyError(rule, str(folder), "choose another --out, or give the same options as before")
    return {**about, "functions": {**old, **new}}


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
