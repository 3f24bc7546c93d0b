"""Finds surrogate families, architectures, datasets, recipes, spaces and pinned trials by file.

Nothing is registered by hand: a part exists when its file exists. A file whose name starts with an underscore is
private. Listing imports nothing, so that `--help` and `list` stay fast.
"""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sugar_search.errors import FileError, InputError, UnknownNameError

__all__ = [
    "KINDS",
    "find",
    "is_reference",
    "load_callable",
    "load_module",
    "load_toml",
    "names",
    "normal",
    "resolve",
    "summary",
]

PACKAGE = Path(__file__).resolve().parent
MAX_TOML = 65_536  # bytes


@dataclass(frozen=True)
class Kind:
    """Where one kind of part lives.

    Attributes:
        singular: the word for one part, used in messages.
        folder: path relative to the package (or, for data folders, to the repository in a checkout).
        suffix: ".py" or ".toml".
    """

    singular: str
    folder: str
    suffix: str


KINDS: dict[str, Kind] = {
    "surrogates": Kind("surrogate", "symbolic/families", ".py"),
    "archs": Kind("arch", "models", ".py"),
    "datasets": Kind("dataset", "data", ".py"),
    "recipes": Kind("recipe", "training/recipes", ".toml"),
    "spaces": Kind("space", "search_spaces", ".toml"),
    "trials": Kind("pinned trials", "trials", ".toml"),
}


def normal(name: str) -> str:
    """The form in which names are compared: lower case without spaces, hyphens and underscores."""
    return re.sub(r"[-_ ]", "", name).lower()


def _folder(kind: Kind) -> Path:
    """Inside the installed package when it is there, else beside it (a checkout or an editable install)."""
    inside, beside = PACKAGE / kind.folder, PACKAGE.parent / kind.folder
    return inside if inside.is_dir() else beside


@cache
def find(kind: str) -> dict[str, Path]:
    """Every part of `kind`: its name (the file's stem) and its file, in alphabetical order.

    Raises:
        FileError: two files stand for the same name (compared by `normal`).
    """
    spec = KINDS[kind]
    found: dict[str, Path] = {}
    seen: dict[str, Path] = {}
    for path in sorted(_folder(spec).glob(f"*{spec.suffix}")):
        if path.stem.startswith("_"):
            continue
        if twin := seen.get(normal(path.stem)):
            raise FileError(
                f"each {spec.singular} must have one file", f"{twin.name} and {path.name}", "remove or rename one"
            )
        seen[normal(path.stem)] = path
        found[path.stem] = path
    return found


def names(kind: str) -> tuple[str, ...]:
    """The names of `kind`, in alphabetical order."""
    return tuple(find(kind))


def resolve(kind: str, name: str) -> str:
    """The catalog's spelling of `name` ("B-SiLU" gives "bsilu").

    Raises:
        UnknownNameError: no such part; the message shows the nearest names.
    """
    for known in find(kind):
        if normal(known) == normal(name):
            return known
    raise UnknownNameError.of(KINDS[kind].singular, name, find(kind))


def load_module(kind: str, name: str) -> ModuleType:
    """The Python module of a part found by `resolve`."""
    dotted = f"sugar_search.{KINDS[kind].folder.replace('/', '.')}.{resolve(kind, name)}"
    return importlib.import_module(dotted)


def is_reference(text: str) -> bool:
    """Whether `text` is written as "package.module:callable"."""
    return ":" in text


def load_callable(text: str, what: str) -> Callable[..., Any]:
    """What a user's "package.module:callable" names; modules of the working folder are found too.

    Args:
        text: the reference.
        what: the word for it in messages ("arch", "dataset").

    Raises:
        InputError: the text is no reference, or its module cannot be imported, or holds no such callable.
    """
    module_name, _, attribute = text.partition(":")
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", text):
        raise InputError(f"{what} must be a known name or package.module:callable", text, "write it as my_models:build")
    # A console script does not look into the working folder; `python -m` does.
    if (here := str(Path.cwd())) not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # the user's module may raise anything
        said = (str(error).splitlines() or [""])[0]
        rule = f"{what} {module_name}:{attribute} must be importable ({type(error).__name__}: {said})"
        raise InputError(rule, text, f"mend the module, or install it or put it into {here}") from error
    if not callable(found):
        raise InputError(f"{what} must name a callable", text, "name a function or a class")
    return found


def load_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary.

    Raises:
        FileError: the file is missing, unreadable, too large or not TOML; the message names file and place.
    """
    try:
        if (size := path.stat().st_size) > MAX_TOML:  # the parser's time grows with the square of some texts
            raise FileError(f"a TOML file must have at most {MAX_TOML:,} bytes", f"{path}: {size:,}", "make it smaller")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError("a TOML file must be readable", str(path), error.strerror or "check the path") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path} must be UTF-8 text", f"byte {error.start}", "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} must be valid TOML", str(error).splitlines()[0], "mend the line named") from error


def summary(kind: str, name: str) -> str:
    """One line that describes a part, read without importing it: the docstring's or `description`'s first line."""
    path = find(kind)[resolve(kind, name)]
    if path.suffix == ".toml":
        text = str(load_toml(path).get("description", ""))
    else:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.strip().splitlines()[0] if text.strip() else ""
