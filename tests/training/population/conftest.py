"""Small populations that the tests share."""

import pytest

from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training.population import members

SURROGATES = [None, "bsilu", "nelu", "selu"]


@pytest.fixture
def make_members(make_spec):
    """Builds runs of four epochs that train together, two of each seed."""

    def make(where, count=4, **changes):
        given = [None if each is None else surrogate(each).to_dict() for each in SURROGATES[:count]]
        changes = {"epochs": 4, **changes}
        # Two of a seed share the order of their samples.
        return [make_spec(f"{where}/{i}", seed=i // 2, surrogate=each, **changes) for i, each in enumerate(given)]

    return make


@pytest.fixture
def trained_epochs(monkeypatch):
    """The epochs that were trained, and by how many members."""
    seen = []
    original = members.run_epoch
    monkeypatch.setattr(
        members,
        "run_epoch",
        lambda block, *rest: (seen.append((rest[-1], len(block.members))), original(block, *rest))[1],
    )
    return seen
