"""What is known of a dataset by its name alone: nothing is read, nothing downloaded."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sugar_search import catalog
from sugar_search.errors import InputError, UnknownNameError

__all__ = [
    "DATA_DIR",
    "Facts",
    "data_mark",
    "default_recipe",
    "facts",
    "is_natural",
    "is_present",
    "module_of",
    "parse",
]

DATA_DIR = Path("data")  # where files are looked for when no folder is given


@dataclass(frozen=True)
class Facts:
    """What is known of a dataset before its data are read.

    Attributes:
        input_shape: of one sample.
        outputs: number of classes, or of target dimensions.
        train: training samples, those of a validation split that is cut out of them included.
        test: test samples.
        natural: photographs of the world in RGB (uint8).
        download_bytes: of the file that is downloaded when it is missing; 0: the data come with a package.
        validation: samples of a validation split of the dataset's own; 0: it has none.
    """

    input_shape: tuple[int, ...]
    outputs: int
    train: int
    test: int
    natural: bool
    download_bytes: int
    validation: int = 0


def facts(text: str) -> Facts | None:
    """What is known of a dataset without reading it; None where only loading tells (the user's own data).

    Raises:
        UnknownNameError: there is no such dataset or variant.
        InputError: the dataset has no variants.
    """
    if catalog.is_reference(text):
        return None
    name, variant = parse(text)
    known: dict[str, Facts] = getattr(module_of(name), "FACTS", {})  # by variant; "" is the default one
    return known.get(variant or "")


def data_mark(text: str, data_dir: Path | None) -> str | None:
    """What tells one user's files from another's under the same name; None of datasets that are what they are.

    A callable of the user may read anything in `data_dir`, so there the folder itself stands for them.

    Raises:
        UnknownNameError: there is no such dataset.
    """
    folder = Path(data_dir or DATA_DIR).expanduser().absolute()
    if catalog.is_reference(text):
        return None if data_dir in (None, DATA_DIR) else str(folder)
    make = getattr(module_of(parse(text)[0]), "mark", None)
    return None if make is None else make(folder)


def is_present(text: str, data_dir: Path | None) -> bool:
    """Whether a dataset's files seem to be in `data_dir`, without opening them; True of data that come with a package.

    Raises:
        UnknownNameError: there is no such dataset.
    """
    files: tuple[str, ...] = () if catalog.is_reference(text) else getattr(module_of(parse(text)[0]), "FILES", ())
    return not files or any((Path(data_dir or DATA_DIR).expanduser() / name).exists() for name in files)


def default_recipe(text: str) -> str:
    """The recipe that is used on a dataset when none is given; "own-data" on the user's own callables.

    Raises:
        UnknownNameError: there is no such dataset.
    """
    return "own-data" if catalog.is_reference(text) else module_of(parse(text)[0]).RECIPE


def is_natural(text: str) -> bool:
    """Whether a dataset holds photographs of the world in RGB; not known, and so False, of the user's own callables.

    Raises:
        UnknownNameError: there is no such dataset.
    """
    return not catalog.is_reference(text) and bool(getattr(module_of(parse(text)[0]), "NATURAL", False))


def module_of(name: str) -> ModuleType:
    """The module of a dataset by its catalog name."""
    return catalog.load_module("datasets", name)


def parse(text: str) -> tuple[str, str | None]:
    """The catalog's spelling of name and variant."""
    name, slash, wanted = text.partition("/")
    name = catalog.resolve("datasets", name)
    variants: tuple[str, ...] = module_of(name).VARIANTS
    if not slash:
        return name, None
    if not variants:
        raise InputError(f"dataset {name} has no variants", text, f"give {name}")
    for variant in variants:
        if catalog.normal(variant) == catalog.normal(wanted):
            return name, variant
    raise UnknownNameError.of("dataset", text, [f"{name}/{variant}" for variant in variants])
