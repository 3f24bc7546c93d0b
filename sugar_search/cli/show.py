"""`sugar-search show FORMULA|NAME|STUDY#N`: a surrogate's formula, values and shape."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["show"]


def show(
    formula: Annotated[str, typer.Argument(help="A family, a formula of a derivative in x, or STUDY#TRIAL.")],
    out: Annotated[Path, typer.Option(help="Folder that holds the results folders.")] = Path("results"),
) -> None:
    """Show a surrogate: formula, LaTeX, activation, key values and a sketch."""
    from sugar_search.report.describe import describe

    print(describe(formula, out))
