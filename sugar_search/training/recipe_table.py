"""A recipe as rows of key, value and meaning, for `sugar-search list recipes --verbose`."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from sugar_search.training.recipe import Recipe, load_recipe

__all__ = ["describe"]


def describe(recipe: Recipe | str | Path) -> list[tuple[str, str, str]]:
    """One row per key of the schema, a table's name before its other keys: dotted path, value, meaning with its unit.

    Keys that a file leaves out are shown with their default; a table or value that is absent reads "-".

    Args:
        recipe: a recipe, or a name or path as `load_recipe` takes it.

    Raises:
        UnknownNameError: there is no recipe of that name.
        FileError: the file cannot be read or breaks the schema.
    """
    return list(_rows(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), ""))


def _rows(table: BaseModel, prefix: str) -> Iterator[tuple[str, str, str]]:
    fields = type(table).model_fields
    for name in sorted(fields, key=lambda each: each != "name"):
        field = fields[name]
        value, meaning = getattr(table, name), field.description or ""
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{prefix}{name}.")
        elif name == "name":
            yield f"{prefix}name", _text(value), (type(table).__doc__ or "").strip().splitlines()[0]
        elif isinstance(value, dict) and value:
            for arch, options in value.items():
                for option, setting in options.items():
                    yield f"{prefix}{name}.{arch}.{option}", _text(setting), f"option of the architecture {arch}"
        else:
            yield f"{prefix}{name}", _text(value), meaning


def _text(value: object) -> str:
    """The value as TOML writes it; text without its quotes."""
    if value is None or value == {}:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_text(each) for each in value)}]"
    return format(value, "g") if isinstance(value, float) else str(value)
