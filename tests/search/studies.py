"""What the tests of the search compare."""


def results(study, kind=None):
    """What training gave, by run id: everything but times."""
    return {
        run.run: (run.values, run.scores, dict(run.metrics), run.state)
        for trial in study.trials
        if kind in (None, trial.kind)
        for run in trial.runs.values()
    }
