"""Downloads a file once: locked between processes, into a draft, verified, then one rename."""

import hashlib
import logging
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock, Timeout

from sugar_search.errors import FileError

__all__ = ["Remote", "check_free", "fetch", "is_published", "locked"]

log = logging.getLogger("sugar_search")

MIB = 2**20
CHUNK = MIB  # bytes per read
SILENCE = 30.0  # seconds without a byte from the server after which a download is given up


@dataclass(frozen=True)
class Remote:
    """A file of the web.

    Attributes:
        url: where it is.
        file: its name.
        size: bytes.
        md5: of its content, hexadecimal.
    """

    url: str
    file: str
    size: int
    md5: str


def fetch(remote: Remote, folder: Path) -> Path:
    """The file in `folder`, downloaded unless it is there by the time this process may write.

    Raises:
        FileError: no network, an answer other than the file, too little disk space, or `folder` cannot be written.
    """
    target = folder / remote.file
    by_hand = f"give --data-dir with {remote.file}, or download {remote.url} by hand into {folder}"
    made = not folder.exists()
    lock = folder / f".{remote.file}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(lock, f"the download of {remote.file}"):
            if not target.exists():
                check_free(folder, remote.size, f"downloading {remote.file}")
                draft = folder / f".{remote.file}.draft"
                try:
                    _download(remote, draft, by_hand)
                    draft.replace(target)
                finally:
                    draft.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"{target} must be writable", error.strerror or str(error), by_hand) from error
    finally:
        if made and not target.exists():  # nothing is left of a download that came to nothing
            lock.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
    return target


def _download(remote: Remote, draft: Path, by_hand: str) -> None:
    log.info("downloading %s (%d MiB) into %s", remote.url, remote.size // MIB, draft.parent)
    digest, size = hashlib.md5(usedforsecurity=False), 0
    request = urllib.request.Request(remote.url, headers={"User-Agent": "sugar-search"})
    try:
        answer = urllib.request.urlopen(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        raise FileError(f"{remote.url} must be there", f"{error.code} {error.reason}", by_hand) from error
    except (OSError, HTTPException) as error:  # URLError, timeouts, refused connections, an unknown host
        raise FileError(f"no network: cannot reach {remote.url}", _reason(error), by_hand) from error
    with answer, draft.open("wb") as file:
        while size <= remote.size:
            try:
                chunk = answer.read(CHUNK)
            except (OSError, HTTPException) as error:
                raise FileError(f"the download of {remote.url} broke off", _reason(error), "try again") from error
            if not chunk:
                break
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    if size < remote.size:
        raise FileError(f"{remote.url} must send {remote.size} bytes", size, f"try again, or {by_hand}")
    if digest.hexdigest() != remote.md5:
        raise FileError(f"{remote.url} must have md5 {remote.md5}", digest.hexdigest(), f"try again, or {by_hand}")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", "") or error or type(error).__name__)


@contextmanager
def locked(lock: Path, what: str) -> Iterator[None]:
    """Holds a lock file; says so once when another process has it."""
    file = FileLock(lock)
    try:
        file.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that holds %s (%s)", what, lock)
        file.acquire()
    except NotImplementedError as error:
        raise FileError(f"{lock} must be on a file system with locks", str(lock.parent), "use another one") from error
    try:
        yield
    finally:
        file.release()


def check_free(folder: Path, size: int, what: str) -> None:
    """Stops before a write that cannot end well.

    Raises:
        FileError: less than `size` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        rule = f"{what} needs {-(-size // MIB)} MiB of free disk space in {folder}"
        raise FileError(rule, f"{free // MIB} MiB", "make room, or give another --data-dir")


def is_published(path: Path, size: int | None, md5: str) -> bool:
    """Whether a file is the published one; another size is the user's own choice of images.

    Raises:
        FileError: it has the published size and another content, or cannot be read.
    """
    try:
        if size is not None and path.stat().st_size != size:
            return False
        found = _md5_of(path)
    except OSError as error:
        raise FileError(f"{path} must be readable", error.strerror or str(error), "check it") from error
    if size is None:  # the size is not known, so another content may be the user's own
        return found == md5
    if found != md5:
        raise FileError(f"{path} is damaged: its md5 must be {md5}", found, "download it again")
    return True


def _md5_of(path: Path) -> str:
    """Of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
