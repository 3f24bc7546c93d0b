"""The verdict says what the seeds can decide, and no more."""

import pytest
from scipy import stats

from sugar_search.search.finals import compare, judge
from sugar_search.search.objective import OBJECTIVES
from sugar_search.search.records import Candidate, RunRecord
from sugar_search.symbolic.surrogate import surrogate

SEEDS = (1, 10, 20, 25)


def candidate(name, losses, kind="baseline", fresh=(10, 20, 25)):
    chosen = surrogate(name)
    runs = {s: RunRecord(f"{name}-s{s}", s, "complete", values=(v,), metrics={}) for s, v in zip(SEEDS, losses)}
    return Candidate(chosen, (kind,), (0,), runs, fresh, "COMPLETE", None)


def test_compare_is_a_paired_t_test():
    a, b = {1: 0.91, 2: 0.95, 3: 0.93, 9: 0.1}, {1: 0.90, 2: 0.92, 3: 0.93, 8: 0.9}
    result = compare(a, b, "other", maximise=True)
    expected = stats.ttest_rel([0.91, 0.95, 0.93], [0.90, 0.92, 0.93])
    interval = expected.confidence_interval(0.95)
    assert result.seeds == 3
    assert (result.p, result.low, result.high) == pytest.approx((expected.pvalue, interval.low, interval.high))
    assert result.difference == pytest.approx(0.04 / 3)
    assert not result.decided
    mirrored = compare(a, b, "other", maximise=False)
    assert mirrored.difference == pytest.approx(-0.04 / 3)


def test_one_seed_decides_nothing():
    assert compare({1: 0.99}, {1: 0.5}, "other", maximise=True).decided is False
    assert compare({1: 0.99}, {2: 0.5}, "other", maximise=True).difference is None


def test_equal_gaps_do_not_divide_by_zero():
    same = compare({1: 0.5, 2: 0.6}, {1: 0.5, 2: 0.6}, "other", maximise=True)
    assert same.p == 1.0
    assert not same.decided


@pytest.mark.parametrize(
    ("gaps", "word"),
    [
        ((0.05, 0.05, 0.06, 0.05), "better"),
        ((-0.2, 0.2, -0.1, 0.1), "not decided"),
        ((-0.05, -0.05, -0.06, -0.05), "worse"),
    ],
)
def test_verdict_words(gaps, word):
    relu = candidate("relu", [0.5] * 4)
    best = candidate("bsilu", [0.4] * 4, kind="proposal")
    test = {f"relu-s{s}": {"accuracy": 0.8 + 0.001 * i} for i, s in enumerate(SEEDS)}
    test |= {f"bsilu-s{s}": {"accuracy": test[f"relu-s{s}"]["accuracy"] + g} for s, g in zip(SEEDS, gaps)}
    verdict = judge([relu, best], test, OBJECTIVES["loss"], tried=12)
    assert verdict.winner == "B-SiLU(α=1.67)"
    assert f"Against ReLU: {word}" in verdict.text
    assert "3 fresh seeds" in verdict.text
    assert "12 surrogates tried" in verdict.text


def test_the_winner_is_chosen_on_validation_data_of_fresh_seeds():
    # B-SiLU was better on the seed it was chosen by, ReLU is better on the fresh ones.
    relu = candidate("relu", [0.5, 0.3, 0.3, 0.3])
    lucky = candidate("bsilu", [0.1, 0.4, 0.4, 0.4], kind="proposal")
    # The test set says the opposite; it must not choose.
    test = {f"relu-s{s}": {"accuracy": 0.1} for s in SEEDS} | {f"bsilu-s{s}": {"accuracy": 0.9} for s in SEEDS}
    verdict = judge([relu, lucky], test, OBJECTIVES["loss"], tried=2)
    assert verdict.winner == "ReLU"
    assert "nothing beat plain ReLU" in verdict.text


def test_a_baseline_that_wins_is_named_as_one():
    verdict = judge([candidate("relu", [0.5] * 4), candidate("bsilu", [0.4] * 4)], {}, OBJECTIVES["loss"], tried=2)
    assert "a surrogate of the paper wins" in verdict.text
    assert "not decided" in verdict.text


def test_no_finalist_no_verdict():
    assert judge([], {}, OBJECTIVES["loss"], tried=0) is None
