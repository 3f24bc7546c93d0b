"""Spaces, samplers, racing, coordinator, engines: a study from plan to verdict.

The package is itself the public function `sugar_search.search(train_fn, ...)`: importing any module of it makes
`sugar_search.search` this package, so the two can only be one.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sugar_search.search.view import StudyView


class _Search(ModuleType):
    """This package, callable."""

    def __call__(self, train_fn: Callable[..., float], **options: Any) -> "StudyView":
        """Searches the surrogate with which the user's own training function does best.

        Args:
            train_fn: called as `train_fn(make_activation, run)`; builds a network with `make_activation()` (a new
                `SugarReLU` at each call) in place of `nn.ReLU()`, trains it with seed `run.seed`, and returns its score
                on validation data. It may call `run.report(score)` after each epoch: a run that is worse than half of
                its peers ends there. It runs in this process; an exception it raises fails its trial, not the study.
            **options: `space`, `trials` (proposals in the whole study, 50 by default), `time_budget` ("7m"),
                `direction` ("maximize" or "minimize"), `epochs` (how often the function calls `run.report`, which
                places the race's rungs), `seed`, `repeats`, `confirm` (fresh seeds per finalist), `sampler`,
                `baselines`, `study` (its name), `out` (folder of results folders), `storage`, `on_event` (called with
                each event; by default the log "sugar_search" gets one line per trial).

        Returns:
            The study: `.best` is a surrogate for `sugar_search.export`, `.verdict` the comparison on fresh seeds. The
            same call goes on where an interrupted one ended.

        Raises:
            InputError: an option breaks a rule, or `train_fn` is no plain function (but a lambda, a closure, a partial,
                a method, an object) and `study` is not given; nothing is written.
            KeyboardInterrupt: Ctrl-C; everything finished is saved.
        """
        from sugar_search.search.function import search_function

        return search_function(train_fn, **options)


sys.modules[__name__].__class__ = _Search
