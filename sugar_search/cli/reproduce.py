"""`sugar-search reproduce table1 ... table5 | fig1 | fig8`: the paper's tables, trained here, and figures."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sugar_search.errors import InputError, UnknownNameError

__all__ = ["reproduce"]


def reproduce(
    context: typer.Context,
    table: Annotated[str, typer.Argument(metavar="NAME", help="table1 to table5, fig1 or fig8.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs, with their time on this machine and disk; train nothing.")
    ] = False,
    arch: Annotated[list[str] | None, typer.Option(help="Only this architecture; may be repeated.")] = None,
    surrogate: Annotated[
        list[str] | None,
        typer.Option(help="Only this surrogate; in table2 and table3 in place of B-SiLU(1.67). May be repeated."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Only this function of table2 and table3; may be repeated.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(help="paper: select epochs as it did; validation: never by test data."),
    ] = "paper",
    epochs: Annotated[int | None, typer.Option(help="Epochs per run, instead of the paper's.")] = None,
    repeats: Annotated[
        int | None, typer.Option(help="Seeds per row, the first of the paper's (five; 100 in table2 and table3).")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where runs execute: local or ray.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Runs at a time. [default: one per core or GPU]")] = None,
    threads_per_trial: Annotated[int, typer.Option(help="CPU threads per run.")] = 1,
    gpus_per_trial: Annotated[float | None, typer.Option(help="GPUs per run. [default: 1 if any]")] = None,
    loader_workers: Annotated[int | None, typer.Option(help="Processes per run that prepare images.")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Run networks through torch.compile.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Folder where datasets lie and are downloaded to.")] = Path("data"),
    offline: Annotated[bool, typer.Option("--offline", help="Never download a dataset.")] = False,
    out: Annotated[Path, typer.Option(help="Folder that holds the results folders.")] = Path("results"),
    storage: Annotated[str | None, typer.Option(help="Optuna storage URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Train a table of the paper and print the paper's value, ours and the difference; or draw a figure.

    Studies are resumed: run the same command again to go on. fig1 and fig8 write a picture and its numbers.
    """
    from sugar_search.report.figures import FIGURES

    given, table = table, table.lower()
    if table in FIGURES:
        _draw(context, table, out, as_json=as_json)
        return
    from sugar_search.cli import _dying_relu

    if table in _dying_relu.TABLES:
        _dying_relu.run(
            context,
            table,
            dry_run=dry_run,
            surrogates=surrogate or (),
            targets=target or (),
            epochs=epochs,
            repeats=repeats,
            out=out,
            as_json=as_json,
        )
        return
    if target:
        raise InputError("--target belongs to table2 and table3", target[0], "drop it")
    from sugar_search.cli._sitting import notes, sit
    from sugar_search.report.reproduction import dry_run_text, results, write_table
    from sugar_search.search.pinned import tables
    from sugar_search.search.preflight import preflight_all
    from sugar_search.search.reproduction import find_table, table_plans

    options = {
        "engine": engine,
        "workers": workers,
        "threads": threads_per_trial,
        "gpus": gpus_per_trial,
        "loaders": loader_workers,
        "compile": compile,
        "data_dir": data_dir,
        "offline": offline,
    }
    filters = {"archs": arch or (), "surrogates": surrogate or (), "protocol": protocol}
    if table not in tables():
        raise UnknownNameError.of("what to reproduce", given, [*tables(), *_dying_relu.TABLES, *FIGURES])
    found = find_table(table)
    plans = table_plans(found, epochs=epochs, repeats=repeats, out=out, storage=storage, **filters, **options)
    if dry_run:
        print(dry_run_text(found, plans, as_json=as_json))
        return
    with notes(as_json=as_json):
        said = preflight_all([plan for _, plan in plans])
    arguments = {"table": table, "epochs": epochs, "repeats": repeats, **filters, **options}
    studies = []
    try:
        for (pinned, plan), lines in zip(plans, said, strict=True):
            studies.append((pinned, sit(plan, arguments, lines, as_json=as_json)))
    finally:
        if studies:  # also what stood when a signal came
            print(results(found, plans[: len(studies)], studies, as_json=as_json))
            print(write_table(found, studies, out), file=sys.stderr if as_json else sys.stdout)
    if all(t.state == "FAIL" for _, study in studies for t in study.trials):
        print("sugar-search: every trial failed", file=sys.stderr)
        raise typer.Exit(1)


def _draw(context: typer.Context, name: str, out: Path, *, as_json: bool) -> None:
    """Draws a figure of the paper; options of training would have no effect and are refused."""
    from sugar_search.report.figures import FIGURES, write_figure

    for option in context.params:
        given = str(context.get_parameter_source(option)).endswith("COMMANDLINE")
        if given and option not in ("table", "out", "as_json"):
            words = "--" + option.replace("_", "-")
            raise InputError(f"{name} takes --out and --json only, as nothing is trained", words, "drop it")
    paths = [str(path) for path in write_figure(name, out)]
    text = FIGURES[name].description
    if as_json:
        print(json.dumps({"event": "figure", "figure": name, "description": text, "files": paths}))
        return
    print("\n".join([text, *(f"  written     {path}" for path in paths)]))
