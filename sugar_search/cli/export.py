"""`sugar-search export STUDY`: the best surrogate as one file to paste into a model."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    study: Annotated[str, typer.Argument(help="A results folder, or a study's name under --out.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write. [default: best_surrogate.py in the results folder]"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that holds the results folders.")] = Path("results"),
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL, when the study is not in its folder.")
    ] = None,
) -> None:
    """Write a study's best surrogate as a stand-alone module that imports torch alone."""
    from sugar_search.report.folder import export_best
    from sugar_search.search.view import read_study

    view = read_study(study, out, storage)
    print(export_best(view, output or view.folder / "best_surrogate.py"))
