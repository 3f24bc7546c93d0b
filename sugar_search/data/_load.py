"""Datasets by name: the package's, and the user's own callables."""

from pathlib import Path

from sugar_search import catalog
from sugar_search.data import _user
from sugar_search.data._about import DATA_DIR, facts, module_of, parse
from sugar_search.data._dataset import Dataset

__all__ = ["dataset_name", "load_dataset"]


def load_dataset(text: str, *, data_dir: Path | None = None, offline: bool = True, seed: int = 0) -> Dataset:
    """The dataset that `text` names, on the CPU; the same object again within one process.

    Args:
        text: a name of `sugar-search list datasets`, with "/variant" where there are any ("digits",
            "regression/f2"), or the user's own "package.module:callable" (see `sugar_search.data._user`).
        data_dir: where files live, "data" when None; datasets that bring their data ignore it.
        offline: never download; a missing file is then an error.
        seed: handed to the user's callable; the datasets that come with the package are the same for every seed.

    Raises:
        UnknownNameError: there is no such dataset or variant.
        FileError: its files are missing or damaged, cannot be downloaded, or there is too little disk space.
        InputError: the dataset has no variants, or the user's callable fails or returns something else.
    """
    folder = Path(DATA_DIR if data_dir is None else data_dir).expanduser().absolute()
    key = (text, folder, seed) if catalog.is_reference(text) else (*parse(text), folder, seed)
    if key not in _loaded:
        _loaded[key] = _load(text, folder, offline, seed)
    return _loaded[key]


_loaded: dict[tuple[object, ...], Dataset] = {}  # a worker trains many runs on one dataset


def _load(text: str, folder: Path, offline: bool, seed: int) -> Dataset:
    if catalog.is_reference(text):
        return _user.load(text, seed=seed, data_dir=folder, offline=offline)
    name, variant = parse(text)
    return module_of(name).load(variant, seed=seed, data_dir=folder, offline=offline)


def dataset_name(text: str) -> str:
    """The canonical text of a dataset, which identifies it in studies: "Digits-32" is "digits/32".

    Raises:
        UnknownNameError: there is no such dataset or variant.
        InputError: the dataset has no variants.
    """
    if catalog.is_reference(text):
        return text
    known = facts(text)
    if known is not None and not known.download_bytes:
        return load_dataset(text).name  # comes with a package: nothing to wait for
    name, variant = parse(text)
    variant = variant or getattr(module_of(name), "DEFAULT", None)
    return name if variant is None else f"{name}/{variant}"
