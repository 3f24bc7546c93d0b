"""`sugar-search show FORMULA|NAME|STUDY#N`: a surrogate's formula, what is proven of it, and its shape."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["show"]


def show(
    formula: Annotated[str, typer.Argument(help="A family, a formula of a derivative in x, or STUDY#TRIAL.")],
    plot: Annotated[Path | None, typer.Option(help="Also draw the derivative and the activation: FILE.png.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that holds the results folders.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a surrogate: formula, LaTeX, activation, certificate, errors of its code, nearest known, a sketch.

    A formula may start with a minus sign: sugar-search show "-exp(-x*x)".
    """
    from sugar_search.report.describe import describe, find, to_json, to_lines
    from sugar_search.report.figures import check_picture, draw_surrogate

    if plot is not None:
        check_picture(plot)
    about = describe(find(formula, out))
    if plot is not None:
        draw_surrogate(about, plot)
    print(to_json(about) if as_json else to_lines(about))
