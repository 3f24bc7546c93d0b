"""The verdict says what the seeds can decide, and no more."""

import numpy as np
import pytest
from scipy import stats

from sugar_search.search.compare import POWER, Comparison, compare, holm
from sugar_search.search.finals import finalists, judge, pick_winner
from sugar_search.search.objective import OBJECTIVES
from sugar_search.search.records import BASELINE, PROPOSAL, Candidate, RunRecord, TrialRecord
from sugar_search.symbolic.surrogate import surrogate

SEEDS = (1, 10, 20, 25)


def candidate(name, losses, kind="baseline", fresh=(10, 20, 25)):
    chosen = surrogate(name)
    runs = {s: RunRecord(f"{name}-s{s}", s, "complete", values=(v,), metrics={}) for s, v in zip(SEEDS, losses)}
    return Candidate(chosen, (kind,), (0,), runs, fresh, False, True, "COMPLETE", None)


def versus(ours, theirs, maximise=True):
    return compare("ours", ours, "theirs", theirs, maximise=maximise)


def test_compare_is_a_paired_t_test():
    a, b = {1: 0.91, 2: 0.95, 3: 0.93, 9: 0.1}, {1: 0.90, 2: 0.92, 3: 0.93, 8: 0.9}
    result = versus(a, b)
    expected = stats.ttest_rel([0.91, 0.95, 0.93], [0.90, 0.92, 0.93])
    interval = expected.confidence_interval(0.95)
    assert result.seeds == 3
    assert (result.p, result.low, result.high) == pytest.approx((expected.pvalue, interval.low, interval.high))
    assert result.difference == pytest.approx(0.04 / 3)
    assert not result.decided
    assert versus(a, b, maximise=False).difference == pytest.approx(-0.04 / 3)


def test_the_detectable_difference_is_found_as_often_as_it_says():
    gaps = {1: 0.01, 2: 0.03, 3: -0.02, 4: 0.02}
    result = versus(gaps, dict.fromkeys(gaps, 0.0))
    spread = np.std(list(gaps.values()), ddof=1)
    draws = np.random.default_rng(0).normal(result.detectable, spread, (40_000, 4))
    found = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(POWER, abs=0.01)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({1: 0.99}, {1: 0.5}),
        ({1: 0.99}, {2: 0.5}),
        ({}, {}),
        ({1: 0.5, 2: 0.6}, {1: 0.5, 2: 0.6}),
        # Equal gaps, exactly or up to rounding, have no spread to judge by, however large they are.
        ({1: 0.97, 2: 0.95}, {1: 0.96, 2: 0.94}),
        ({1: 0.97, 2: 0.95, 3: 0.91}, {1: 0.47, 2: 0.45, 3: 0.41}),
    ],
)
def test_what_nothing_can_be_said_of_is_not_decided(ours, theirs):
    result = versus(ours, theirs)
    assert not result.decided
    assert result.p is result.low is result.high is None


def test_holm_corrects_for_the_number_of_comparisons():
    raw = [Comparison("a", str(i), 3, 0.1, p=p) for i, p in enumerate([0.04, 0.01, 0.03])]
    corrected = holm([*raw, Comparison("a", "none", 1, 0.1)])
    assert [c.p for c in corrected] == pytest.approx([0.06, 0.03, 0.06, None])
    assert [c.decided for c in corrected] == [False, True, False, False]


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
    assert f"B-SiLU(α=1.67) against ReLU: {word}" in verdict.text
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
    assert "no surrogate beat plain ReLU" in verdict.text


def test_a_baseline_that_wins_is_named_as_one():
    verdict = judge([candidate("relu", [0.5] * 4), candidate("bsilu", [0.4] * 4)], {}, OBJECTIVES["loss"], tried=2)
    assert "a surrogate of the paper" in verdict.text
    assert "not decided" in verdict.text


def test_no_finalist_no_verdict():
    assert judge([], {}, OBJECTIVES["loss"], tried=0) is None


def test_only_seeds_that_all_finalists_ran_choose_the_winner():
    relu = candidate("relu", [0.5, 0.3, 0.3, 0.3])
    other = candidate("bsilu", [0.5, 0.2, 0.2])
    more = candidate("elu", [0.5, 0.4, 0.4, 0.01])
    assert pick_winner([relu, other, more], OBJECTIVES["loss"]) is other


def trial(number, kind, name, losses, seeds=(1,), state="COMPLETE"):
    chosen = surrogate(name)
    runs = {s: RunRecord(f"{number}-{s}", s, "complete", values=(v,), scores=(v,)) for s, v in zip(seeds, losses)}
    return TrialRecord(number, kind, state, chosen, seeds, runs, values=tuple(losses[:1]))


def test_finalists_are_relu_the_papers_best_and_the_best_proposal():
    trials = [
        trial(0, BASELINE, "relu", [0.5]),
        trial(1, BASELINE, "elu", [0.4]),
        trial(2, BASELINE, "bsilu", [0.3]),
        trial(3, PROPOSAL, "celu(alpha=2)", [0.2]),
        trial(4, PROPOSAL, "mish", [0.1]),
        trial(5, PROPOSAL, "gelu", [0.05], seeds=(1, 10)),  # left the race after one seed
        trial(6, PROPOSAL, "selu", [0.01], state="PRUNED"),
    ]
    names = [c.surrogate.name for c in finalists(trials, OBJECTIVES["loss"])]
    assert names == ["relu", "bsilu", "mish"]
    # A surrogate of the paper that was proposed before it became a baseline is the paper's.
    paper = {surrogate("mish").canonical}
    assert [c.surrogate.name for c in finalists(trials, OBJECTIVES["loss"], paper)] == ["relu", "mish", "celu"]


def test_every_finalist_is_compared_with_those_before_it():
    chosen = [candidate("relu", [0.5] * 4), candidate("elu", [0.4] * 4), candidate("mish", [0.3] * 4, kind="proposal")]
    pairs = [(c.subject, c.against) for c in judge(chosen, {}, OBJECTIVES["loss"], tried=3).comparisons]
    assert pairs == [("Mish", "ReLU"), ("Mish", "ELU(α=1)"), ("ELU(α=1)", "ReLU")]
