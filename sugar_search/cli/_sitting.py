"""What the commands that train share: notes, a sitting with its live view, what Ctrl-C leaves."""

import contextlib
import logging
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sugar_search.search.plan import Plan
    from sugar_search.search.view import StudyView

__all__ = ["go_on", "notes", "sit"]


class _Stderr(logging.Handler):
    """Prints to standard error: at once where a person waits, else when all went well, so an error stands alone."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.held.append(f"sugar-search: {record.getMessage()}")
        if sys.stderr.isatty():
            self.say()

    def say(self) -> None:
        while self.held:
            print(self.held.pop(0), file=sys.stderr)


@contextmanager
def notes(*, as_json: bool) -> Iterator[None]:
    """Shows what the package has to say while a study is prepared: data that is downloaded or decoded."""
    with _events_alone(as_json), _shown():
        yield


@contextmanager
def _events_alone(as_json: bool) -> Iterator[IO[str]]:
    """Standard output for JSON lines alone: what a user's module prints goes to standard error."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield out


@contextmanager
def _shown() -> Iterator[None]:
    log = logging.getLogger("sugar_search")
    handler, level = _Stderr(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
        handler.say()
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def sit(plan: "Plan", arguments: Mapping[str, Any], said: Sequence[str], *, as_json: bool) -> "StudyView":
    """Runs a sitting with a live view and writes the results folder; `said` is what preflight noted.

    Raises:
        typer.Exit: a signal ended the sitting; everything finished is saved and the command to go on was printed.
    """
    from sugar_search.report.folder import write_folder, write_run_json
    from sugar_search.report.live import live_view
    from sugar_search.search.interrupt import Interrupted
    from sugar_search.search.sitting import run_sitting
    from sugar_search.search.view import read_study

    try:
        with (
            _quiet(),
            _events_alone(as_json) as out,
            live_view(plan.objectives[0], as_json=as_json, out=out) as emit,
        ):

            def watch(event: dict[str, Any]) -> None:
                if event["event"] == "study":
                    write_run_json(plan.folder, arguments, plan.identity)
                emit(event)
                if event["event"] == "study":
                    for text in said:
                        emit({"event": "note", "text": text})

            study = run_sitting(plan, watch)
    except Interrupted as stop:
        write_folder(read_study(str(plan.folder), plan.folder.parent, plan.url))
        raise go_on(stop.number) from None
    write_folder(study)
    return study


def go_on(signal: int) -> typer.Exit:
    """Says how to go on after a signal; returns the exit that stands for it."""
    print(f"stopped; everything finished is saved. Go on with: {_command()}", file=sys.stderr)
    return typer.Exit(128 + signal)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the log out of the live view: what a network has to say of itself was noted before the first run."""
    log, handler = logging.getLogger("sugar_search"), logging.NullHandler()
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before


def _command() -> str:
    """What was typed, without a password in a storage URL."""
    from sugar_search.search.store import without_password

    return shlex.join(["sugar-search", *(without_password(w) if "://" in w else w for w in sys.argv[1:])])
