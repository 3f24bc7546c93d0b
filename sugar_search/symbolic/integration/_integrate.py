"""Reads a formula on standard input and writes its integral, by sympy: a process that its parent kills when it hangs.

It also ends when its parent does.
"""

import os
import sys
import threading
import time

import sympy
from sympy import Expr

from sugar_search.symbolic import functions as f
from sugar_search.symbolic.functions import X
from sugar_search.symbolic.parse import parse
from sugar_search.symbolic.text import to_text

__all__ = ["integral", "main"]


LOOK = 0.2  # seconds between two looks at the parent


def main(memory: int, seconds: int, parent: int) -> None:
    """Integrates within limits on memory and CPU time, where the system knows such limits.

    Args:
        memory: bytes.
        seconds: of CPU time.
        parent: process without which nobody reads the result.
    """
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    print(to_text(integral(parse(sys.stdin.read()))))


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def integral(g: Expr) -> Expr:
    """An antiderivative of g in our functions, by `sympy.integrate`."""
    return _ours(sympy.integrate(_plain(g), X))


def _plain(g: Expr) -> Expr:
    """Our functions by those that sympy can integrate."""
    for ours, plain in (
        (f.tanh, sympy.tanh),
        (f.sigmoid, lambda u: 1 / (1 + sympy.exp(-u))),
        (f.softplus, lambda u: sympy.log(1 + sympy.exp(u))),
        (f.log1p, lambda u: sympy.log(1 + u)),
        (f.normal_cdf, lambda u: (1 + sympy.erf(u / sympy.sqrt(2))) / 2),
        (f.normal_pdf, lambda u: sympy.exp(-(u**2) / 2) / sympy.sqrt(2 * sympy.pi)),
    ):
        g = g.replace(ours, plain)
    return g


def _ours(e: Expr) -> Expr:
    """Logarithms as log1p or softplus; what is foreign beyond that has no text and ends this process."""

    def logarithm(u: Expr) -> Expr:
        rest = sympy.expand(u - 1)
        return f.softplus(rest.args[0]) if isinstance(rest, sympy.exp) else f.log1p(rest)

    return e.replace(sympy.log, logarithm).replace(sympy.tanh, f.tanh)
