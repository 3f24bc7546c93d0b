"""What the tests of the search share."""

from sugar_search.search.jobs import COMPLETE, Outcome
from sugar_search.search.plan import build_plan
from sugar_search.training.run import EpochRecord, Metrics

EPOCH_SECONDS = 0.5


def small_plan(out, **changes):
    """A small study of the digits in this process; every option can be changed."""
    options = {"arch": "mlp", "dataset": "digits", "space": "families", "epochs": 2, "trials": 2, "confirm": 0}
    options |= {"workers": 0, "gpus": 0, "study": "small", "out": out} | changes
    return build_plan(**options)


def results(study, kind=None):
    """What training gave, by run id: everything but times."""
    return {
        run.run: (run.values, run.scores, dict(run.metrics), run.state)
        for trial in study.trials
        if kind in (None, trial.kind)
        for run in trial.runs.values()
    }


def end(coordinator, jobs, losses=()):
    """Says that the runs are complete, after two epochs of `EPOCH_SECONDS` each, which pass on the clock."""
    by_run = dict(zip([job.run for job in jobs], losses or [0.5] * len(jobs), strict=True))
    for epoch in (1, 2):
        records = {
            run: EpochRecord(epoch, loss, Metrics(loss, 0.9, sparsity=0.5, dead=0.0), 0.1, EPOCH_SECONDS, 1.0)
            for run, loss in by_run.items()
        }
        coordinator.agenda.clock.now += EPOCH_SECONDS * len(jobs)
        assert coordinator.on_epochs(records) == []
    for run in by_run:
        coordinator.on_end(run, Outcome(COMPLETE))
