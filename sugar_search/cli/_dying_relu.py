"""`sugar-search reproduce table2 | table3`: the dying-ReLU study."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sugar_search.errors import InputError, StudyError

if TYPE_CHECKING:
    from sugar_search.training.dying_relu import Study
    from sugar_search.training.dying_runs import Watch

__all__ = ["TABLES", "run"]

TABLES = ("table2", "table3")
OPTIONS = ("table", "dry_run", "surrogate", "target", "epochs", "repeats", "out", "as_json")
FOLDER = "table2"  # both tables are of the same runs
IDENTITY = (("epochs", "repeats"), ("recipe",))  # of a folder's study; functions and surrogates may join it
RUN_BYTES = 200_000  # checkpoints of one narrow network, old and new, and its records
RESULT_BYTES = 500  # of one run, in its file of results and in the tables
SPARE_BYTES = 50 * 2**20
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
        FileError: the folder cannot be written, or its disk is too full.
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
    from sugar_search.search.room import check_room, make_folder
    from sugar_search.search.store import hold
    from sugar_search.training.dying_relu import study_of
    from sugar_search.training.dying_runs import read_target, run_target

    study = study_of(surrogates, epochs=epochs, repeats=repeats, targets=targets)
    folder = out / FOLDER
    _joined(folder, study)
    if dry_run:
        print(dry_run_text(table, study, folder, disk=_bytes(study), as_json=as_json))
        return
    arguments = {"table": table, "surrogate": surrogates, "target": targets, "epochs": epochs, "repeats": repeats}
    check_room(folder, _bytes(study) + SPARE_BYTES)
    make_folder(folder)
    lock = hold(folder)
    found = []
    try:
        everything = _joined(folder, study)  # again, for now no other process can change it
        with signals():
            write_run_json(folder, arguments, everything.about())
            for name in study.targets:
                watch = _progress(name, study.recipe.epochs, as_json=as_json)
                # A signal that comes in an epoch is raised after it: what was trained goes into a checkpoint.
                found.append(run_target(study, name, folder, watch, shielded))
    except Interrupted as stop:
        raise go_on(stop.number) from None
    finally:
        lock.release()
        if found:
            # Also what earlier commands trained here, which wrote these files before.
            paths = write_tables(
                everything, [read_target(everything, name, folder) for name in everything.targets], folder
            )
            print(table_text(table, study, found, as_json=as_json))
            print("\n".join(f"  written     {path}" for path in paths), file=sys.stderr if as_json else sys.stdout)


def _joined(folder: Path, study: "Study") -> "Study":
    """The study with the functions and surrogates that its folder holds.

    Raises:
        StudyError: the folder holds another study.
    """
    from sugar_search.search.store import differences

    about = study.about()
    try:
        before = json.loads((folder / "run.json").read_bytes())["identity"]
        everything = study.joined(before)
        # The recipe's digest, which tells a person nothing, is said where the other two are as they were.
        parts = [[{key: each[key] for key in keys} for each in (about, before)] for keys in IDENTITY]
        changed = next(filter(None, (differences(*part) for part in parts)), "")
    except (OSError, ValueError, KeyError, TypeError):  # absent or damaged; results are named by what their runs are
        return study
    if changed:
        rule = f"a results folder keeps what identifies its study ({changed})"
        raise StudyError(rule, str(folder), "choose another --out, or give the same options as before")
    return everything


def _bytes(study: "Study") -> int:
    """Of the disk: checkpoints of one method's runs, and the results of all."""
    return study.repeats * (RUN_BYTES + RESULT_BYTES * len(study.methods) * len(study.targets)) + 2**20


def _progress(target: str, epochs: int, *, as_json: bool) -> "Watch":
    """Says now and then how far a function is: to standard error for a person, or as an event."""
    said = time.monotonic()

    def watch(method: str, epoch: int, seconds: float) -> None:
        nonlocal said
        if epoch < epochs and time.monotonic() - said < SAY_SECONDS:
            return
        said = time.monotonic()
        if as_json:
            event = {"event": "epoch", "target": target, "method": method, "epoch": epoch, "seconds": seconds}
            print(json.dumps(event), flush=True)
        else:
            print(f"{target}, {method}: epoch {epoch} of {epochs}, {seconds:.0f} s", file=sys.stderr, flush=True)

    return watch
