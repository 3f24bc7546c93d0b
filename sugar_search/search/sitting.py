"""One sitting of a study, from opening it to the verdict."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sugar_search.errors import FileError, InputError
from sugar_search.search.coordinator import Coordinator, Emit
from sugar_search.search.execution import together
from sugar_search.search.finals import judge
from sugar_search.search.interrupt import shielded, signals
from sugar_search.search.plan import Plan
from sugar_search.search.records import PROPOSAL, Candidate, TrialRecord, candidates
from sugar_search.search.results import run_spec
from sugar_search.search.room import make_folder
from sugar_search.search.sampler import Proposer
from sugar_search.search.store import Store, hold, storage_errors
from sugar_search.search.view import StudyView, view
from sugar_search.symbolic.surrogate import surrogate

__all__ = ["run_sitting"]


def run_sitting(plan: Plan, emit: Emit) -> StudyView:
    """Runs or resumes a study and returns it as it stands at the end.

    Raises:
        InputError: the study cannot be opened (see `Store`, `hold`), or Ray lacks the resources.
        Interrupted: SIGINT or SIGTERM; everything finished is saved and the study can be resumed.
    """
    made = make_folder(plan.folder)
    try:
        lock = hold(plan.folder)
    except InputError:
        _unmake(made)
        raise
    try:
        with storage_errors(plan.url):
            try:
                store = Store(plan.url, plan.name)
                home = str(plan.folder.resolve())
                resumed = store.create(plan.identity, [o.direction for o in plan.objectives], home)
            except Exception:
                _unmake(made)
                raise
            with signals():
                return _run(plan, store, resumed, emit)
    finally:
        lock.release()


def _unmake(made: list[Path]) -> None:
    """Takes back what a sitting that never began has made: its own files, and folders that nobody else uses."""
    if not made:
        return
    for name in ("study.lock", "study.holder", "study.db"):
        (made[0] / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for path in made:
            path.rmdir()


def _run(plan: Plan, store: Store, resumed: bool, emit: Emit) -> StudyView:
    emit(_opening(plan, store, resumed))
    proposer = Proposer(plan.space, plan.sampler, [o.direction for o in plan.objectives], plan.seed)
    coordinator = Coordinator(plan, store, proposer, emit, together=_together(plan))
    try:
        if plan.train_fn is not None:
            from sugar_search.search.engines.function import run_function

            run_function(coordinator, plan.train_fn)
        elif plan.engine == "ray":
            from sugar_search.search.engines.ray import run_ray

            run_ray(coordinator)
        else:
            from sugar_search.search.engines.local import run_local

            run_local(coordinator)
        if plan.table is not None:
            _test_metrics(coordinator, candidates(coordinator.trials), emit)  # where the worker could not
            coordinator.tidy()
        elif coordinator.agenda.confirming:
            _conclude(coordinator, emit)
        else:
            emit({"event": "note", "text": "time is up before every baseline ended: rerun the same command to go on"})
    finally:
        coordinator.close()
    return view(store, plan.folder)


def _together(plan: Plan) -> int:
    """How many runs one process executes at once: 1 but for small networks on the local engine."""
    if plan.train_fn is not None or plan.engine != "local":
        return 1
    usual = TrialRecord(0, PROPOSAL, "WAITING", surrogate("bsilu"), (1,))
    return together(run_spec(plan, usual, 1, "cuda" if plan.gpus > 0 else "cpu"))


def _opening(plan: Plan, store: Store, resumed: bool) -> dict[str, Any]:
    """The first event: which study this is, and the trials of earlier sittings."""
    ended = [t for t in store.trials() if t.ended]
    earlier = [{"kind": t.kind, "title": t.title, "values": list(t.values)} for t in ended if t.values]
    about = {"name": plan.name, "folder": str(plan.folder), "resumed": resumed, "identity": plan.identity}
    wanted = {"epochs": plan.recipe.epochs, "trials": plan.trials, "seconds": plan.time_budget, "workers": plan.workers}
    return {"event": "study", **about, **wanted, "earlier": earlier}


def _conclude(coordinator: Coordinator, emit: Emit) -> None:
    """Reads the test set for the finalists' runs that have not read it, and stores the verdict."""
    plan, store = coordinator.plan, coordinator.store
    chosen = coordinator.planner.finalists()
    test = _own_values(chosen) if plan.train_fn is not None else _test_metrics(coordinator, chosen, emit)
    coordinator.tidy()
    tried = sum(c.seen for c in candidates(coordinator.trials))
    verdict = judge(chosen, test, plan.objectives[0], tried)
    if verdict:
        store.set("verdict", verdict.to_dict())
        emit({"event": "verdict", "text": verdict.text})


def _own_values(chosen: Sequence[Candidate]) -> dict[str, Any]:
    """What the user's function returned on fresh seeds, by run: nothing was chosen by those."""
    return {run.run: {"value": run.values[0]} for c in chosen for seed, run in c.runs.items() if seed in c.fresh}


def _test_metrics(coordinator: Coordinator, chosen: Sequence[Candidate], emit: Emit) -> dict[str, Any]:
    """Test metrics by run, stored one by one; those of the finalists' runs are read where they are missing."""
    from sugar_search.training.loop import evaluate_test

    plan, store = coordinator.plan, coordinator.store
    test = dict(store.get("test", {}))
    device = "cuda" if plan.gpus > 0 else "cpu"
    keys = {(c.surrogate.canonical, c.sugar) for c in chosen}
    for trial in (t for t in coordinator.trials if t.key in keys):
        for seed, run in trial.runs.items():
            if run.state != "complete" or run.run in test:
                continue
            try:
                test[run.run] = evaluate_test(run_spec(plan, trial, seed, device)).to_dict()
            except FileError as error:
                # Weights deleted by hand, or of a surrogate that was overtaken and came back with more seeds.
                emit({"event": "note", "text": f"no test metrics of run {run.run}: {error}"})
                continue
            with shielded():
                store.set("test", test)
    return test
