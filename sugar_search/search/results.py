"""A run at both ends: what an engine is told of it, and what a study remembers of what the engine reports."""

import math
from collections.abc import Sequence
from dataclasses import replace

from sugar_search.data._about import DATA_DIR
from sugar_search.search.jobs import COMPLETE, FAILED, STOPPED, Outcome
from sugar_search.search.objective import Objective
from sugar_search.search.plan import Plan
from sugar_search.search.records import RunRecord, TrialRecord
from sugar_search.training.run import EpochRecord, RunSpec, selected

__all__ = ["metrics_of", "run_record", "run_spec", "values_of"]


def values_of(record: EpochRecord, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """The objective values after an epoch; NaN where the dataset does not define one."""
    values = (getattr(record.validation, o.metric) for o in objectives)
    return tuple(math.nan if v is None else float(v) for v in values)


def metrics_of(record: EpochRecord) -> dict[str, float | None]:
    """The metrics of an epoch by name."""
    return {**record.validation.to_dict(), "train_loss": record.train_loss, "lr": record.lr}


def run_spec(plan: Plan, trial: TrialRecord, seed: int, device: str = "cpu") -> RunSpec:
    """The training of `trial` with `seed`."""
    return RunSpec(
        arch=plan.arch,
        dataset=plan.dataset,
        recipe=plan.recipe,
        seed=seed,
        surrogate=trial.surrogate.to_dict(),
        device=device,
        threads=plan.threads,
        # Absolute: Ray's workers have a working folder of their own.
        folder=str((plan.folder / "work" / trial.run(seed)).absolute()),
        sugar=trial.sugar,
        data_dir=str((plan.data_dir or DATA_DIR).expanduser().absolute()),
        loaders=plan.loaders,
        compile=plan.compile,
        sites=plan.sites,
    )


def run_record(run: str, seed: int, epochs: Sequence[EpochRecord], outcome: Outcome, plan: Plan) -> RunRecord:
    """What is kept of a run that ended as `outcome` after `epochs`."""
    state, reason = outcome.state, outcome.reason
    if not epochs:
        return RunRecord(run, seed, state, reason=reason, diverged=outcome.diverged)
    chosen = epochs[-1] if state == STOPPED else selected(plan.recipe, epochs)
    values = values_of(chosen, plan.objectives)
    if state == COMPLETE and not all(map(math.isfinite, values)):
        outcome, state, reason = replace(outcome, diverged=True), FAILED, f"the objective is not finite ({values})"
    if state == STOPPED:
        reason = f"worse than half of its peers after epoch {len(epochs)}"
    seconds = sum(e.seconds for e in epochs)
    return RunRecord(
        run=run,
        seed=seed,
        state=state,
        epochs=len(epochs),
        values=values,
        scores=tuple(values_of(e, plan.objectives)[0] for e in epochs),
        metrics=metrics_of(chosen),
        seconds=seconds,
        seconds_per_epoch=seconds / len(epochs),
        images_per_second=sum(e.images_per_second for e in epochs) / len(epochs),
        reason=reason,
        diverged=outcome.diverged,
        peak_memory=max((e.peak_memory for e in epochs if e.peak_memory is not None), default=None),
    )
