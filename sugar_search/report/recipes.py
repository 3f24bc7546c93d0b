"""Every recipe's every value, side by side."""

from sugar_search import catalog
from sugar_search.training.recipe_table import describe

__all__ = ["recipes_text"]


def recipes_text() -> str:
    """A table with one row per key, one column per recipe, and what the key means with its unit."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = catalog.names("recipes")
    values = {name: {key: value for key, value, _ in describe(name)} for name in names}
    meanings = {key: meaning for name in names for key, _, meaning in reversed(describe(name))}
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("key", no_wrap=True)
    for name in names:
        table.add_column(name, max_width=24)
    table.add_column("meaning", min_width=60)
    for key in _ordered([list(each) for each in values.values()]):
        if key == "description":
            continue
        cells = [Text(values[name].get(key, "")) for name in names]
        table.add_row(Text(key), *cells, Text(meanings[key]))
    console = Console(width=230, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    # Trailing blanks would wrap in a narrower terminal.
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _ordered(lists: list[list[str]]) -> list[str]:
    """The union of several ordered lists; each item comes after the one it follows in its own list."""
    merged: list[str] = []
    for keys in lists:
        at = 0
        for key in keys:
            if key in merged:
                at = merged.index(key) + 1
            else:
                merged.insert(at, key)
                at += 1
    return merged
