"""What a table of the paper would cost here, and what sets a plan apart from the paper's experiment."""

from dataclasses import dataclass
from typing import Any

from sugar_search.data._about import facts, is_present
from sugar_search.data._load import load_dataset
from sugar_search.search.pinned import PinnedStudy
from sugar_search.search.plan import Plan, run_seeds
from sugar_search.search.records import BASELINE, TrialRecord
from sugar_search.search.results import run_spec
from sugar_search.search.store import Store, is_new, storage_errors

__all__ = ["PlannedRuns", "planned_runs", "unlike_the_paper"]


@dataclass(frozen=True)
class PlannedRuns:
    """The runs of one study.

    Attributes:
        runs: one dictionary per run: study, run, title, seed, state ("done", "failed" or "to do").
        seconds_per_run: of one run on this machine.
        seconds: of all that are to do, `workers` at a time.
        device: where they run.
        dataset: its name.
        disk_bytes: of the results folder at its fullest.
        data_bytes: of the decoded dataset.
        download_bytes: of the dataset when it is not there.
    """

    runs: list[dict[str, Any]]
    seconds_per_run: float
    seconds: float
    device: str
    dataset: str
    disk_bytes: int
    data_bytes: int
    download_bytes: int


def planned_runs(plan: Plan) -> PlannedRuns:
    """Lists the runs of a table's study and measures a few steps; reads no data and writes nothing.

    Raises:
        InputError: a number of the plan is out of range.
        FileError: the study's storage cannot be read.
    """
    from sugar_search.training.estimate import cost_of

    known = facts(plan.dataset)
    assert known is not None  # the paper's datasets all say what they are
    device = "cuda" if plan.gpus > 0 else "cpu"
    trials = [
        TrialRecord(index, BASELINE, "WAITING", entry.surrogate, run_seeds(plan.repeats), sugar=entry.sugar)
        for index, entry in enumerate(plan.baselines)
    ]
    ended = _ended(plan)
    runs = [
        {
            "study": plan.name,
            "run": trial.run(seed),
            "title": trial.title,
            "seed": seed,
            "state": ended.get(trial.run(seed), "to do"),
        }
        for trial in trials
        for seed in trial.seeds
    ]
    share = plan.recipe.validation.share or 0.0
    held = known.test if plan.recipe.validation.split == "test" else round(share * known.train)
    train = known.train - round(share * known.train)
    # A surrogate costs more than ReLU; the last entry is one, so that the estimate is not too low.
    cost = cost_of(run_spec(plan, trials[-1], 1, device), known.input_shape, known.outputs, train, held)
    todo = sum(run["state"] == "to do" for run in runs)
    at_once = max(1, plan.workers)
    rounds = -(-todo // at_once)
    values = known.train + known.test
    for size in known.input_shape:
        values *= size
    present = is_present(plan.dataset, plan.data_dir)
    return PlannedRuns(
        runs=runs,
        seconds_per_run=cost.seconds,
        seconds=rounds * cost.seconds,
        device=device,
        dataset=plan.dataset,
        disk_bytes=at_once * cost.disk_bytes,
        data_bytes=values,
        download_bytes=0 if present else known.download_bytes,
    )


def _ended(plan: Plan) -> dict[str, str]:
    """ "done" or "failed" for the runs that an earlier sitting ended and that no later one repeats."""
    if is_new(plan.url):
        return {}
    with storage_errors(plan.url):
        store = Store(plan.url, plan.name)
        runs = [] if store.identity() is None else [run for trial in store.trials() for run in trial.runs.values()]
    failed = {run.run: "failed" for run in runs if run.state == "failed" and run.diverged}
    return failed | {run.run: "done" for run in runs if run.state == "complete"}


def unlike_the_paper(pinned: PinnedStudy, plan: Plan, *, read: bool = False) -> str:
    """What keeps a plan from being the paper's experiment, in one line; empty when nothing does.

    Args:
        pinned: what the paper did.
        plan: what is done here.
        read: whether the dataset may be opened to count its images.
    """
    said = []
    if plan.recipe.epochs != pinned.epochs:
        said.append(f"{plan.recipe.epochs} of the paper's {pinned.epochs} epochs")
    if pinned.validation == "test" and plan.recipe.validation.split != "test":
        said.append("epochs selected on validation samples, where the paper selects them on the test set")
    if read and (size := _unlike_the_data(plan)) is not None:
        said.append(size)
    return f"{pinned.arch} on {pinned.dataset} is not the paper's experiment: {'; '.join(said)}" if said else ""


def _unlike_the_data(plan: Plan) -> str | None:
    """What the dataset at hand lacks; None when it is the official one."""
    if (known := facts(plan.dataset)) is None:
        return None
    dataset = load_dataset(plan.dataset, data_dir=plan.data_dir)
    have = len(dataset.train), len(dataset.test)
    if have == (known.train, known.test):
        return None
    return f"{have[0]} training and {have[1]} test images, where the official data has {known.train} and {known.test}"
