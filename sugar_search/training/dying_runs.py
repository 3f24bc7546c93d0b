"""Trains the dying-ReLU study: one population, and one file of results, for each function and method.

What a file holds depends on its function, its method, and the number of runs and of epochs alone, so a study with
another surrogate finds the runs of the methods that it shares with those before.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

from sugar_search.errors import DivergedError
from sugar_search.training.checkpoint import write_atomically
from sugar_search.training.dying_relu import Method, Result, Run, Study
from sugar_search.training.population.train import train_population
from sugar_search.training.run import EpochRecord, RunSpec

__all__ = ["Watch", "read_target", "run_target", "seconds_per_run"]

Watch = Callable[[str, int, float], None]

TIMED = 100  # members whose epoch `seconds_per_run` times


def run_target(
    study: Study,
    target: str,
    folder: Path,
    watch: Watch = lambda method, epoch, seconds: None,
    whole: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Result:
    """Trains the runs of a function, or goes on with them; methods that are done are read.

    An exception between two epochs, from `watch` for one, leaves a checkpoint of the runs in progress.

    Args:
        study: what is trained.
        target: one of its functions.
        folder: keeps the results, by what the runs are, and while they run their checkpoints.
        watch: called after each epoch with the method's name, the epoch's number and the method's seconds so far.
        whole: makes the context in which an epoch is trained, and the last one's results written.

    Raises:
        FileError: the folder cannot be written.
    """
    parts = [_run_method(study, target, method, folder, watch, whole) for method in study.methods]
    return _together(target, parts)


def read_target(study: Study, target: str, folder: Path) -> Result:
    """What is done of a function; without runs where nothing is."""
    paths = [_path(study, target, method, folder) for method in study.methods]
    return _together(target, [found for path in paths if (found := _read(path)) is not None])


def seconds_per_run(study: Study) -> float:
    """Seconds that a run of the study takes here, about: two epochs of some runs are trained, and kept nowhere."""
    target, method = next(iter(study.targets)), study.methods[-1]
    specs = replace(study, repeats=min(study.repeats, TIMED)).specs(target, method)
    specs = [replace(spec, recipe=spec.recipe.model_copy(update={"epochs": 2})) for spec in specs]
    *_, last = train_population(specs, keep=False)
    seconds = [said.seconds for said in last.values() if isinstance(said, EpochRecord)]
    return study.recipe.epochs * sum(seconds) / max(1, len(seconds))


def _run_method(
    study: Study,
    target: str,
    method: Method,
    folder: Path,
    watch: Watch,
    whole: Callable[[], AbstractContextManager[None]],
) -> Result:
    path = _path(study, target, method, folder)
    on_the_way = path.with_suffix("")
    if (before := _read(path)) is not None:
        shutil.rmtree(on_the_way, ignore_errors=True)  # left where a kill came just after the results were written
        return before
    specs, epochs = study.specs(target, method), study.recipe.epochs
    runs: dict[int, Run] = {}
    seconds = 0.0
    with closing(train_population(specs, folder=on_the_way, keep=False)) as steps:
        for epoch in range(1, epochs + 1):
            with whole():
                step = next(steps)
                runs |= {number: _run(method, specs[number], said) for number, said in step.items()}
                seconds += sum(said.seconds for said in step.values() if not isinstance(said, DivergedError))
                if epoch == epochs:  # before `watch`, and before an exception at the end of the context
                    result = Result(target, tuple(runs[number] for number in sorted(runs)), seconds)
                    write_atomically(path, (json.dumps(asdict(result), allow_nan=False) + "\n").encode())
                    shutil.rmtree(on_the_way, ignore_errors=True)
            watch(method.name, epoch, seconds)
    return result


def _path(study: Study, target: str, method: Method, folder: Path) -> Path:
    return folder / f"{target}-{study.identity(target, method)}.json"


def _together(target: str, parts: list[Result]) -> Result:
    return Result(target, tuple(run for part in parts for run in part.runs), sum(part.seconds for part in parts))


def _run(method: Method, spec: RunSpec, said: EpochRecord | DivergedError) -> Run:
    if isinstance(said, DivergedError):
        return Run(method.name, spec.seed, None, None, None, str(said))
    return Run(method.name, spec.seed, said.train_loss, said.validation.loss, said.validation.dead)


def _read(path: Path) -> Result | None:
    """What `_run_method` wrote; None where it did not, or the file is damaged."""
    try:
        found = json.loads(path.read_bytes())
        return Result(found["target"], tuple(Run(**each) for each in found["runs"]), found["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
