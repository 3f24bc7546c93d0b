"""TOML files checked against a pydantic model: one line names the file and every fault with what is allowed."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError

from sugar_search import catalog
from sugar_search.errors import FileError, shorten

__all__ = ["load_schema"]

MAX_FAULTS = 30  # shown in one message

Model = TypeVar("Model", bound=BaseModel)


def load_schema(path: Path, schema: type[Model]) -> Model:
    """A TOML file as a model.

    Raises:
        FileError: the file cannot be read or breaks the schema; one line names the file and every fault.
    """
    content = catalog.load_toml(path)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        faults = list(_faults(error, schema))
        shown = "; ".join(faults[:MAX_FAULTS]) + ("; ..." if len(faults) > MAX_FAULTS else "")
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        raise FileError(f"{path} must follow its schema ({shown})", count, "mend the keys named") from None


def _faults(error: ValidationError, schema: type[BaseModel]) -> Iterator[str]:
    """Each fault as "table.key: what is allowed, not what was given", without line breaks."""
    for fault in error.errors(include_url=False):
        table, place = _locate(fault["loc"], schema)
        key = ".".join(place) or "the file"
        match fault["type"]:
            case "missing":
                yield f"{key}: is missing"
            case "extra_forbidden":
                yield f"{key}: is unknown, allowed here are {', '.join(table.model_fields)}"
            case "union_tag_invalid":
                allowed = fault["ctx"]["expected_tags"].replace("'", "")
                tag = ".".join([*place, fault["ctx"]["discriminator"].strip("'")])
                yield f"{tag}: must be one of {allowed}, not {shorten(fault['ctx']['tag'], 40)}"
            case "union_tag_not_found":
                yield ".".join([*place, fault["ctx"]["discriminator"].strip("'")]) + ": is missing"
            case "value_error":
                yield f"{key}: {fault['ctx']['error']}"
            case _:
                allowed = fault["msg"].replace("Input should be", "must be").replace("'", "")
                yield f"{key}: {allowed}, not {shorten(fault['input'], 40)}"


def _locate(loc: tuple[int | str, ...], schema: type[BaseModel]) -> tuple[type[BaseModel], list[str]]:
    """The table a fault lies in, and its path in the file: pydantic's own path also holds a union's tags."""
    table, place = schema, []
    choices = _choices(schema.model_fields["root"].annotation) if issubclass(schema, RootModel) else {}
    for part in loc:
        if choices and part in choices:
            table, choices = choices[str(part)], {}
            continue
        place.append(str(part) if str(part).isprintable() and len(str(part)) <= 40 else shorten(part, 40))
        if field := table.model_fields.get(str(part)):
            tables = _tables(field.annotation)
            table = tables[0] if len(tables) == 1 else table
            choices = _choices(field.annotation)
    return table, place


def _choices(annotation: Any) -> dict[str, type[BaseModel]]:
    """The tables of a union by the value of their first key, which tells them apart."""
    tables = _tables(annotation)
    return {_tag(each): each for each in tables} if len(tables) > 1 else {}


def _tag(table: type[BaseModel]) -> str:
    literals = (get_args(field.annotation) for field in table.model_fields.values())
    return str(next((values[0] for values in literals if values and isinstance(values[0], str)), table.__name__))


def _tables(annotation: Any) -> list[type[BaseModel]]:
    """The tables a field may hold: one, several for a union; of a mapping or a list, those of its items."""
    if get_origin(annotation) in (Union, types.UnionType, Annotated, dict, tuple, list):
        return [table for each in get_args(annotation) for table in _tables(each)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
