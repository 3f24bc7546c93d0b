"""The working precision of ball arithmetic, for one thread at a time.

flint keeps its precision and the length of its power series for the whole process, so a second thread would change them
in the middle of a proof. Every computation with balls runs inside `working`.
"""

from threading import RLock
from types import TracebackType

from flint import ctx

__all__ = ["working"]

_LOCK = RLock()


class working:
    """Holds the lock and sets the precision, and puts back what was set before.

    Args:
        prec: bits; None leaves them as they are.
        cap: number of Taylor coefficients of a power series; None leaves it as it is.
    """

    __slots__ = ("before", "cap", "prec")

    def __init__(self, prec: int | None = None, cap: int | None = None) -> None:
        self.prec, self.cap = prec, cap

    def __enter__(self) -> None:
        _LOCK.acquire()
        self.before: tuple[int, int] = ctx.prec, ctx.cap
        try:
            if self.prec is not None:
                ctx.prec = self.prec
            if self.cap is not None:
                ctx.cap = self.cap
        except BaseException:
            self._restore()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        try:
            ctx.prec, ctx.cap = self.before
        finally:
            _LOCK.release()
