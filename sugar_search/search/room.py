"""The folder of results: whether it can be written and has room, and making it."""

import os
import shutil
from pathlib import Path

from sugar_search.errors import FileError

__all__ = ["check_room", "make_folder"]


def check_room(folder: Path, need: int) -> None:
    """Looks whether a folder, which need not exist yet, can be written; makes nothing.

    Args:
        folder: of the results.
        need: bytes that must be free on its disk.

    Raises:
        FileError: it cannot be written, or its disk is too full.
    """
    existing = folder.absolute()
    try:
        while not existing.exists():
            existing = existing.parent
        writable = existing.is_dir() and os.access(existing, os.W_OK)
    except OSError as error:  # a name that is too long, a parent that may not be entered
        raise FileError("the results folder must be writable", str(folder), str(error.strerror)) from error
    if not writable:
        raise FileError("the results folder must be writable", str(folder), "choose another --out")
    free = shutil.disk_usage(existing).free
    if free < need:
        rule = f"the disk of the results folder must have {need / 2**20:.0f} MiB free"
        raise FileError(rule, f"{free / 2**20:.0f} MiB", "free some space or choose another --out")


def make_folder(folder: Path) -> list[Path]:
    """Makes a folder; returns the folders that were missing, the innermost first.

    Raises:
        FileError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError("the results folder must be writable", str(folder), str(error.strerror)) from error
    return missing
