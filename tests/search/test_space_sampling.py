"""How Optuna's samplers draw from a space: weights, baselines to learn from, and refusals by reason."""

from collections import Counter

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from sugar_search.search import sampler
from sugar_search.search.pinned import load_baselines
from sugar_search.search.sampler import START_UP, Proposer
from sugar_search.search.space import load_space
from sugar_search.symbolic.fingerprint import Known

WEIGHTED = """
description = "x"
kind = "grammar"
start = "s"
max_depth = 1
[rules]
s = [{ formula = "k*sigmoid(x)", weight = 1 }, { formula = "k*normal_pdf(x)", weight = 9 }]
[constants]
k = { low = 0.5, high = 2.0 }
"""


@pytest.fixture
def space(tmp_path):
    """Loads a space from text."""

    def make(text):
        (tmp_path / "space.toml").write_text(text)
        return load_space(str(tmp_path / "space.toml"))

    return make


def ended(proposal, value):
    return create_trial(params=proposal.params, distributions=proposal.distributions, values=[value])


def test_random_sampling_honours_weights(space):
    proposer = Proposer(space(WEIGHTED), "random", ["maximize"], seed=0)
    drawn = Counter("sigmoid" in proposer.propose(i, Known()).surrogate.text for i in range(120))
    assert 0.03 < drawn[True] / 120 < 0.18


def test_tpe_starts_by_weight_and_then_learns(space):
    proposer = Proposer(space(WEIGHTED), "tpe", ["maximize"], seed=0)
    drawn, trials = [], []
    for i in range(START_UP + 30):
        proposal = proposer.propose(i, Known())
        drawn.append("sigmoid" in proposal.surrogate.text)
        trials.append(ended(proposal, 1.0 if drawn[-1] else 0.0))
        if i == START_UP - 1:
            # One sigmoid at least to learn from.
            best = {"grammar": "k*sigmoid(x)", "grammar.0.0": 1.0}
            known = space(WEIGHTED)
            trial = optuna.trial.FixedTrial(best)
            assert known.draw(_Chooser(trial)).text == "sigmoid(x)"
            trials.append(create_trial(params=best, distributions=trial.distributions, values=[1.0]))
        proposer.learn(trials)
    assert sum(drawn[:START_UP]) <= 4
    assert sum(drawn[-10:]) >= 6


def test_tpe_learns_names_that_few_trials_have_and_weighs_those_that_none_has():
    loaded, choices = load_space("grammar"), CategoricalDistribution(("a", "b"))
    drawn = {"deep": [], "new": []}
    for index in range(START_UP, START_UP + 30):
        proposer = Proposer(loaded, "tpe", ["maximize"], seed=0)
        for i in range(2 * START_UP):
            params = {"deep": "ab"[i // 2 % 2]} if i % 2 else {"elsewhere": "a"}
            value = 1.0 if params.get("deep") == "a" else 0.0
            proposer.scratch.add_trial(
                create_trial(params=params, distributions=dict.fromkeys(params, choices), values=[value])
            )
        proposer.announced |= {"deep": (1.0, 19.0), "new": (1.0, 19.0)}
        proposer.scratch.sampler = proposer._sampler(index, 0)
        trial = proposer.scratch.ask()
        for name, found in drawn.items():
            found.append(trial.suggest_categorical(name, ["a", "b"]))
    assert drawn["deep"].count("a") >= 20
    assert drawn["new"].count("a") <= 6


class _Chooser:
    def __init__(self, trial):
        self.trial = trial

    def categorical(self, name, options, weights=None):
        return self.trial.suggest_categorical(name, list(options))

    def float(self, name, low, high, log):
        return self.trial.suggest_float(name, low, high, log=log)


@pytest.mark.parametrize("kind", ["random", "tpe"])
@pytest.mark.parametrize("name", ["grammar", "one_sided"])
def test_a_resumed_study_proposes_the_same(kind, name):
    loaded = load_space(name)

    def run(restart):
        proposer, trials, texts = Proposer(loaded, kind, ["maximize"], seed=3), [], []
        for i in range(START_UP + 4):
            if restart and i == START_UP + 1:
                proposer = Proposer(loaded, kind, ["maximize"], seed=3)
                proposer.learn(trials)
            proposal = proposer.propose(i, Known())
            texts.append(proposal.surrogate.text)
            trials.append(ended(proposal, float(len(texts[-1]))))
            proposer.learn(trials)
        return texts

    assert run(restart=True) == run(restart=False)


def test_a_grammar_space_lets_the_sampler_learn_from_every_baseline():
    proposer = Proposer(load_space("grammar"), "tpe", ["maximize"], seed=0)
    trials = []
    for baseline in load_baselines():
        params, distributions = proposer.adopt(baseline)
        assert params and params.keys() == distributions.keys()
        trials.append(create_trial(params=params, distributions=distributions, values=[0.5]))
    proposer.learn(trials)
    assert len(proposer.scratch.get_trials(states=[TrialState.COMPLETE])) == len(load_baselines())
    assert proposer.propose(0, Known()) is not None


def _refused(space, count):
    """The counts after `count` proposals from a space, each of them admitted."""
    proposer = Proposer(space, "random", ["maximize"], seed=0)
    for i in range(count):
        assert proposer.propose(i, Known()) is not None
    return proposer.refused


def test_refusals_are_counted_by_reason(space):
    bounded = WEIGHTED.replace("[rules]", "[admit]\nmax_abs = 0.7\n[rules]")
    assert set(_refused(space(bounded), 40)) == {"too large"}
    zero = WEIGHTED.replace("k*sigmoid(x)", "0*k").replace("weight = 1 ", "weight = 9 ")
    assert _refused(space(zero), 20)["zero everywhere"] > 5
    long = WEIGHTED.replace("max_depth = 1", "max_depth = 4\nmax_size = 12").replace("k*sigmoid(x)", "s*s")
    assert set(_refused(space(long.replace("weight = 9", "weight = 1")), 20)) == {"max_size"}


def test_a_space_with_nothing_new_is_exhausted(space, monkeypatch):
    monkeypatch.setattr(sampler, "EXHAUSTED", 150)
    grid = space(WEIGHTED.replace("low = 0.5, high = 2.0", "grid = [0.5, 1.0]"))
    proposer = Proposer(grid, "tpe", ["maximize"], seed=0)
    known = Known()
    for i in range(4):
        known.add(proposer.propose(i, known).surrogate, i)
    assert proposer.propose(4, known) is None and proposer.exhausted
    assert proposer.refused["duplicate"] >= 150


def test_weights_rule_the_first_proposals_although_baselines_have_taught_the_sampler(space):
    """Baselines alone must not drown what the author of a grammar asked for."""
    loaded = space(WEIGHTED)
    proposer, trials = Proposer(loaded, "tpe", ["maximize"], seed=0), []
    for k in range(2 * START_UP):
        params = {"grammar": "k*sigmoid(x)", "grammar.0.0": 1 + k / 100}
        trial = optuna.trial.FixedTrial(params)
        loaded.draw(_Chooser(trial))
        trials.append(create_trial(params=params, distributions=trial.distributions, values=[1.0]))
    proposer.learn(trials)
    drawn = ["normal_pdf" in proposer.propose(i, Known()).surrogate.text for i in range(START_UP)]
    assert sum(drawn) >= 6


def test_a_search_for_a_proposal_can_be_stopped(space):
    nothing = space(WEIGHTED.replace("[rules]", "[admit]\nmin_gain = 50\n[rules]"))
    proposer, asked = Proposer(nothing, "random", ["maximize"], seed=0), []
    assert proposer.propose(0, Known(), stop=lambda: asked.append(1) or len(asked) > 5) is None
    assert not proposer.exhausted
    assert proposer.refused["min_gain"] == 5
