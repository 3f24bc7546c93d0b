"""`sugar-search list KIND`: what there is to choose from."""

from pathlib import Path
from typing import Annotated

import typer

from sugar_search import catalog
from sugar_search.errors import InputError, UnknownNameError

__all__ = ["list_parts"]

KINDS = ("surrogates", "spaces", "archs", "datasets", "recipes", "studies")


def list_parts(
    kind: Annotated[str, typer.Argument(help="surrogates, spaces, archs, datasets, recipes or studies.")],
    out: Annotated[Path, typer.Option(help="Folder that holds the results folders (for studies).")] = Path("results"),
    verbose: Annotated[bool, typer.Option("--verbose", help="Every value of every recipe (for recipes).")] = False,
) -> None:
    """List surrogates, spaces, archs, datasets, recipes or studies."""
    if verbose and kind != "recipes":
        raise InputError("--verbose belongs to list recipes", kind, "drop it")
    if kind not in KINDS:
        raise UnknownNameError.of("what to list", kind, KINDS)
    if verbose:
        _print_recipes()
        return
    rows = _studies(out) if kind == "studies" else [(name, catalog.summary(kind, name)) for name in catalog.names(kind)]
    width = max((len(name) for name, _ in rows), default=0)
    for name, summary in rows:
        print(f"{name:<{width}}  {summary}")


def _print_recipes() -> None:
    from sugar_search.report.recipes import recipes_text

    print(recipes_text())


def _studies(out: Path) -> list[tuple[str, str]]:
    from sugar_search.errors import SugarError
    from sugar_search.search.view import read_study

    rows = []
    for folder in sorted(path.parent for path in out.glob("*/study.db")):
        try:
            study = read_study(str(folder), out)
        except SugarError as error:
            rows.append((folder.name, f"unreadable: {error}"))
            continue
        ended = sum(t.ended for t in study.trials)
        best = study.best.title if study.best else "nothing complete yet"
        rows.append((folder.name, f"{ended} of {len(study.trials)} trials ended, best: {best}"))
    return rows
