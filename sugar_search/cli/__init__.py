"""The command line: one file per command, no logic.

Exit codes: 0 done, 1 every trial failed or the output cannot be written, 2 bad input (one line on standard error,
nothing written), 130 Ctrl-C, 143 SIGTERM.
"""

import io
import os
import re
import sys
from typing import TextIO

from sugar_search.errors import SugarError, shorten

__all__ = ["main"]


def main() -> None:
    """Entry point of `sugar-search`."""
    _mend_streams()
    refused = _refused_by(sys.stdout)
    # Plain help text: rich's help panels would double the start-up time.
    os.environ.setdefault("TYPER_USE_RICH", "0")
    from typer.exceptions import Abort, Exit, TyperException

    from sugar_search.cli.app import app

    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except SugarError as error:
        code = _refuse(" ".join(str(error).split()))
    except TyperException as error:
        code = _refuse(_with_value(" ".join(error.format_message().split())) + "; see: sugar-search --help")
    except Exit as stop:
        code = stop.exit_code
    except (Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; that is no fault of ours.
        _drop_output()
        code = 0
    except OSError as error:
        if error not in refused and _takes_output():
            raise
        _drop_output()
        print(f"sugar-search: standard output cannot be written: {error.strerror or error}", file=sys.stderr)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _refused_by(stream: TextIO) -> list[OSError]:
    """Errors of what is written to the stream, as they come: without a buffer nothing tells of them afterwards."""
    refused: list[OSError] = []
    write = stream.write

    def watched(text: str) -> int:
        try:
            return write(text)
        except OSError as error:
            refused.append(error)
            raise

    if isinstance(stream, io.TextIOWrapper):
        stream.write = watched  # type: ignore[method-assign]
    return refused


def _takes_output() -> bool:
    """Whether standard output takes what its buffer holds; nothing is added, for a program may read it."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _mend_streams() -> None:
    """A closed output swallows, and a character that its encoding lacks is replaced: neither may end a study."""
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _with_value(message: str) -> str:
    """The message with the value that an option was given, which Typer leaves out."""
    option = re.search(r"'(--[\w-]+)'", message)
    words = sys.argv[1:]
    if option and option[1] in words[:-1]:
        return f"{message}, got {shorten(words[words.index(option[1]) + 1])}"
    return message


def _refuse(message: str) -> int:
    print(f"sugar-search: {message}", file=sys.stderr)
    return 2
