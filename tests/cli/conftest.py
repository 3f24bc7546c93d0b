"""The command line in this process, where torch and sympy are imported once."""

import contextlib
import io
import os
import sys
from typing import NamedTuple

import pytest
import torch

from sugar_search.cli import main


class Done(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def sugar():
    """Runs a command line, in a folder if one is given; returns its exit code and what it printed."""

    def call(*words, cwd=None):
        arguments, path, environment, threads = sys.argv, [*sys.path], os.environ.copy(), torch.get_num_threads()
        sys.argv = ["sugar-search", *map(str, words)]
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.ExitStack() as stack:
                stack.enter_context(contextlib.chdir(cwd or "."))
                stack.enter_context(contextlib.redirect_stdout(out))
                stack.enter_context(contextlib.redirect_stderr(err))
                stop = stack.enter_context(pytest.raises(SystemExit))
                main()
        finally:
            sys.argv, sys.path[:] = arguments, path
            os.environ.clear()
            os.environ.update(environment)
            torch.set_num_threads(threads)
        return Done(stop.value.code, out.getvalue(), err.getvalue())

    return call
