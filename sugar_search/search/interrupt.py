"""Ctrl-C and SIGTERM end a sitting between two steps of its bookkeeping, never within one.

A signal's exception may appear anywhere. Inside a transaction it could leave a lock held, and inside a destructor
Python swallows it. So while the coordinator works the signal is only noted, and raised when that step is done.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupted", "pending", "shielded", "signals"]


class Interrupted(BaseException):
    """A signal asked the sitting to end; what was done is saved.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class _FromKeyboard(Interrupted, KeyboardInterrupt):
    """Ctrl-C, which programs around `sugar_search.search` expect as a KeyboardInterrupt."""


class _State:
    """Of this process: signals have one receiver."""

    received: int | None = None
    depth = 0  # of nested shields


@contextmanager
def signals() -> Iterator[None]:
    """Turns SIGINT and SIGTERM into `Interrupted` while a sitting runs."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return

    owner = os.getpid()

    def handle(number: int, frame: object) -> None:
        if os.getpid() != owner:
            # A forked process (a DataLoader's) has this handler too. Ctrl-C reaches it as well; its parent ends it.
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        _State.received = number
        if not _State.depth:
            _check()

    def quiet(unraisable: Any) -> None:
        # Raised inside a destructor: it is noted, and the next shield raises it again.
        if not isinstance(unraisable.exc_value, Interrupted):
            hook(unraisable)

    _State.received, _State.depth = None, 0
    hook, sys.unraisablehook = sys.unraisablehook, quiet
    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception:
        _check()  # compiled code that was interrupted (Ray's, for one) turns our exception into one of its own
        raise
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        _State.received, _State.depth = None, 0


@contextmanager
def shielded() -> Iterator[None]:
    """A block (or, as a decorator, a function) that a signal does not break: it is raised at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
    if not _State.depth:
        _check()


def pending() -> bool:
    """Whether a signal waits for the end of a shielded block."""
    return _State.received is not None


def _check() -> None:
    if _State.received is not None:
        raise (_FromKeyboard if _State.received == signal.SIGINT else Interrupted)(_State.received)
