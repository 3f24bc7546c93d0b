"""Small real studies: an MLP on the digits, two epochs a run."""

import pytest
from studies import small_plan

from sugar_search.search.coordinator import Coordinator
from sugar_search.search.preflight import preflight
from sugar_search.search.sampler import Proposer
from sugar_search.search.sitting import run_sitting
from sugar_search.search.store import Store


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def plan(tmp_path):
    """Makes a plan of a small study; every option can be changed."""

    def make(**changes):
        return small_plan(**{"out": tmp_path / "results", **changes})

    return make


@pytest.fixture
def sit(plan):
    """Runs a sitting and returns the study and its events."""

    def run(**changes):
        chosen, events = plan(**changes), []
        preflight(chosen)
        return run_sitting(chosen, events.append), events

    return run


@pytest.fixture
def coordinator(plan):
    """Makes a coordinator without an engine, a second time of the same study: tests say how its jobs ended."""

    def make(together=4, **changes):
        chosen = plan(**{"baselines": False, **changes})
        chosen.folder.mkdir(parents=True, exist_ok=True)
        store = Store(chosen.url, chosen.name)
        directions = [o.direction for o in chosen.objectives]
        store.create(chosen.identity, directions, str(chosen.folder.resolve()))
        proposer = Proposer(chosen.space, chosen.sampler, directions, chosen.seed)
        return Coordinator(chosen, store, proposer, lambda event: None, Clock(), together)

    return make
