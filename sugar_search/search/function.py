"""`ss.search(train_fn)`: a search around the user's own training function."""

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from sugar_search.errors import InputError
from sugar_search.search.coordinator import Emit
from sugar_search.search.objective import FUNCTION_OBJECTIVES
from sugar_search.search.pinned import Entry, load_baselines
from sugar_search.search.plan import DEFAULT_TRIALS, Plan, finish_plan, parse_duration
from sugar_search.search.preflight import preflight
from sugar_search.search.sitting import run_sitting
from sugar_search.search.space import load_space
from sugar_search.search.view import StudyView
from sugar_search.training.recipe import Recipe

__all__ = ["search_function"]

log = logging.getLogger("sugar_search")


def search_function(
    train_fn: Callable[..., float],
    *,
    space: str = "mixed",
    trials: int | None = None,
    time_budget: str | None = None,
    direction: str = "maximize",
    epochs: int | None = None,
    seed: int = 0,
    repeats: int = 1,
    confirm: int = 3,
    sampler: str = "tpe",
    baselines: bool = True,
    study: str | None = None,
    out: str | Path = "results",
    storage: str | None = None,
    on_event: Emit | None = None,
) -> StudyView:
    """See `sugar_search.search`, which is this function."""
    counts = {"trials": trials, "epochs": epochs, "seed": seed, "repeats": repeats, "confirm": confirm}
    for option, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise InputError(f"{option} must be a whole number", value, "give one such as 3")
    arch = _identified(train_fn, study)
    if direction not in FUNCTION_OBJECTIVES:
        raise InputError("direction must be maximize or minimize", direction, "say which value is better")
    plan = Plan(
        name="",
        folder=Path(out),
        url="",
        arch=arch,
        dataset="of the function",
        recipe=_recipe(epochs),
        recipe_name="of the function",
        space=load_space(space),
        objectives=(FUNCTION_OBJECTIVES[direction],),
        seed=seed,
        threads=torch_threads(),
        sampler=sampler,
        trials=DEFAULT_TRIALS if trials is None and time_budget is None else trials,
        time_budget=None if time_budget is None else parse_duration(time_budget),
        repeats=repeats,
        confirm=confirm,
        baselines=tuple(map(Entry, load_baselines())) if baselines else (),
        engine="local",
        workers=0,
        gpus=0,
        train_fn=train_fn,
    )
    plan = finish_plan(plan, study, storage, Path(out))
    preflight(plan)
    return run_sitting(plan, on_event or _log_lines(plan))


def torch_threads() -> int:
    """Threads that torch uses in this process: part of what identifies a study."""
    import torch

    return torch.get_num_threads()


def _identified(train_fn: Callable[..., float], study: str | None) -> str:
    """The function's name and a digest of its code: another function, or an edited one, is another study.

    Raises:
        InputError: it cannot be called, or only a name given to the study can tell it from others.
    """
    if not callable(train_fn):
        rule = "train_fn must be a function of make_activation and run"
        raise InputError(rule, train_fn, "write def train(make_activation, run): ...")
    plain = isinstance(train_fn, FunctionType) and train_fn.__closure__ is None and train_fn.__name__ != "<lambda>"
    if not plain and study is None:
        rule = "a train_fn other than a plain function may hold values that make it another one, so it needs study="
        raise InputError(rule, train_fn, 'name the study: study="my-study"')
    function: Any = train_fn
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    named = function if hasattr(function, "__qualname__") else type(function)
    code = getattr(function, "__code__", None)
    mark = "" if code is None else f" ({_digest(code)[:8]})"
    return f"function {named.__module__}.{named.__qualname__}{mark}"


def _digest(code: CodeType) -> str:
    """Sha256 of what a function does; not of where it stands, which an edit above it moves."""
    digest = hashlib.sha256(code.co_code)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        inner = _digest(constant) if isinstance(constant, CodeType) else repr(constant)
        digest.update(inner.encode())
    return digest.hexdigest()


def _recipe(epochs: int | None) -> Recipe:
    """Stands for the recipe, which only the function knows; its epochs place the rungs of the race."""
    if epochs is not None and epochs < 1:
        raise InputError("epochs must be 1 or more", epochs, "give how often the function calls run.report")
    stand_in = {"epochs": epochs or 1, "batch_size": 1, "optimizer": {"name": "sgd", "lr": 1.0}}
    return Recipe.model_validate({**stand_in, "selection": {"epoch": "last"}})


def _log_lines(plan: Plan) -> Emit:
    """One line of the log per trial that ends."""
    show = plan.objectives[0].show

    def emit(event: dict[str, Any]) -> None:
        if event["event"] == "trial":
            score = show(event["values"][0]) if event["values"] else f"{event['state'].lower()}: {event['reason']}"
            log.info("#%d %s %s: %s", event["trial"], event["kind"], event["title"], score)
        elif event["event"] in ("note", "verdict"):
            log.info("%s", event["text"])

    return emit
