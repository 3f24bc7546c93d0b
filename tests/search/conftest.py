"""Small real studies: an MLP on the digits, two epochs a run."""

import pytest

from sugar_search.search.plan import build_plan
from sugar_search.search.preflight import preflight
from sugar_search.search.sitting import run_sitting


@pytest.fixture
def plan(tmp_path):
    """Makes a plan of a small study; every option can be changed."""

    def make(**changes):
        options = {"arch": "mlp", "dataset": "digits", "space": "families", "epochs": 2, "trials": 2, "confirm": 0}
        options |= {"workers": 0, "gpus": 0, "out": tmp_path / "results", "study": "small"} | changes
        return build_plan(**options)

    return make


@pytest.fixture
def sit(plan):
    """Runs a sitting and returns the study and its events."""

    def run(**changes):
        chosen, events = plan(**changes), []
        preflight(chosen)
        return run_sitting(chosen, events.append), events

    return run
