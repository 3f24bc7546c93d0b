"""Epoch halving and the race between seeds."""

from hypothesis import given
from hypothesis import strategies as st

from sugar_search.search.objective import OBJECTIVES
from sugar_search.search.racing import FIRST_RUNG, MIN_PEERS, in_better_half, rungs

LOSS, ACCURACY = OBJECTIVES["loss"], OBJECTIVES["accuracy"]
scores = st.floats(-100, 100)


def test_rungs_lie_strictly_inside_the_run():
    assert rungs(5) == (4,)
    assert rungs(20) == (10, 15)
    assert rungs(1) == rungs(4) == ()
    for epochs in range(1, 60):
        assert all(FIRST_RUNG <= rung < epochs for rung in rungs(epochs))


@given(scores, st.lists(scores, max_size=MIN_PEERS - 1))
def test_few_peers_stop_nothing(score, peers):
    assert in_better_half(score, peers, LOSS)


@given(st.lists(scores, min_size=MIN_PEERS + 1, max_size=30, unique=True))
def test_about_half_goes_on_and_the_best_always_does(values):
    kept = [v for i, v in enumerate(values) if in_better_half(v, values[:i] + values[i + 1 :], LOSS)]
    assert min(values) in kept
    assert max(values) not in kept
    assert len(values) / 2 <= len(kept) <= len(values) / 2 + 1


@given(scores, st.lists(scores, min_size=MIN_PEERS, max_size=30))
def test_directions_mirror_each_other(score, peers):
    assert in_better_half(score, peers, LOSS) == in_better_half(-score, [-p for p in peers], ACCURACY)
