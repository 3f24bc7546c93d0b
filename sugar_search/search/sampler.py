"""Proposes surrogates: an Optuna sampler over a space, without ever proposing the same function twice.

Sampling happens in a scratch study in memory; the storage receives each proposal in one transaction afterwards. The
scratch study is rebuilt from the storage for each round of proposals.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sugar_search.errors import InputError
from sugar_search.search.space import Space
from sugar_search.symbolic.fingerprint import Known
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["SAMPLERS", "Proposal", "Proposer"]

SAMPLERS = ("tpe", "random")

# Proposals, and finished trials, before TPE starts to learn.
START_UP = 10
# Refused draws in a row after which random sampling takes over, and after which the space counts as exhausted.
PATIENCE = 100
EXHAUSTED = 1000


@dataclass(frozen=True)
class Proposal:
    """A surrogate to train, with the choices that made it.

    Attributes:
        surrogate: admissible and new to the study.
        params: choice by name.
        distributions: Optuna's distribution of each choice.
    """

    surrogate: Surrogate
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]


class _TrialChooser:
    """A chooser that lets an Optuna trial decide.

    Optuna's distributions carry no weights: they are announced to the sampler by name.
    """

    def __init__(self, trial: optuna.trial.BaseTrial, announced: dict[str, Sequence[float]]) -> None:
        self.trial, self.announced = trial, announced

    def categorical(self, name: str, options: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        if weights is not None:
            self.announced[name] = weights
        return self.trial.suggest_categorical(name, list(options))

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        return self.trial.suggest_float(name, low, high, log=log)


class _WeightedRandom(optuna.samplers.RandomSampler):
    """Random sampling that honours the weights announced for a name."""

    def __init__(self, seed: int, announced: dict[str, Sequence[float]]) -> None:
        super().__init__(seed=seed)
        self.announced, self.generator = announced, np.random.default_rng(seed)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        weights = self.announced.get(param_name)
        if weights is None or not isinstance(param_distribution, CategoricalDistribution):
            return super().sample_independent(study, trial, param_name, param_distribution)
        shares = np.array(weights, dtype=float)
        return param_distribution.choices[int(self.generator.choice(len(shares), p=shares / shares.sum()))]


class _WeightedTPE(optuna.samplers.TPESampler):
    """TPE; choices that no finished trial has made yet are drawn by weight, as there is nothing to learn from."""

    def __init__(self, seed: int, announced: dict[str, Sequence[float]], learned: Container[str]) -> None:
        super().__init__(seed=seed, constant_liar=True, n_startup_trials=START_UP)
        self.fresh, self.learned = _WeightedRandom(seed, announced), learned

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if param_name in self.learned:
            return super().sample_independent(study, trial, param_name, param_distribution)
        return self.fresh.sample_independent(study, trial, param_name, param_distribution)


class Proposer:
    """Draws new surrogates from a space.

    Args:
        space: the search space.
        sampler: a name in `SAMPLERS`.
        directions: Optuna directions, one per objective.
        seed: with the number of earlier proposals it fixes each proposal, whether or not the study was interrupted.
    """

    def __init__(self, space: Space, sampler: str, directions: Sequence[str], seed: int) -> None:
        self.space, self.sampler, self.seed = space, sampler, seed
        self.directions = list(directions)
        self.scratch = optuna.create_study(directions=self.directions)
        self.refused: Counter[str] = Counter()
        self.announced: dict[str, Sequence[float]] = {}
        self.exhausted = False

    def learn(self, ended: Iterable[FrozenTrial], open_: Iterable[FrozenTrial] = ()) -> None:
        """Replaces all that the sampler knows, so that the trials given here alone decide about the next proposals.

        Args:
            ended: trials with their results, in order; those without any (failed ones) are passed over.
            open_: proposals whose results are not known yet: the sampler keeps away from them.
        """
        self.scratch = optuna.create_study(directions=self.directions)
        for trial in ended:
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                # A pruned trial takes its curve along, which TPE reads.
                self.scratch.add_trial(
                    create_trial(
                        state=trial.state,
                        values=trial.values,
                        params=trial.params,
                        distributions=trial.distributions,
                        intermediate_values=trial.intermediate_values,
                    )
                )
        for trial in open_:
            self.scratch.add_trial(
                create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
            )

    def adopt(self, surrogate: Surrogate) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """The choices behind a surrogate that was not proposed (a baseline); empty when the space lacks it."""
        choices = self.space.choices(surrogate)
        if choices is None:
            return {}, {}
        trial = optuna.trial.FixedTrial(choices)
        self.space.draw(_TrialChooser(trial, self.announced))
        return dict(trial.params), dict(trial.distributions)

    def propose(self, index: int, known: Known[str], stop: Callable[[], bool] = lambda: False) -> Proposal | None:
        """The `index`-th proposal (from 0), or None: the space holds nothing new, or `stop` said so.

        Args:
            index: number of earlier proposals in the study.
            known: the functions that must not be proposed again, whatever their spelling.
            stop: asked before each draw, since a space may admit next to nothing.
        """
        for attempt in range(EXHAUSTED):
            if stop():
                return None
            self.scratch.sampler = self._sampler(index, attempt)
            trial = self.scratch.ask()
            try:
                drawn = self.space.draw(_TrialChooser(trial, self.announced))
            except InputError as error:
                reason = getattr(error, "reason", "inadmissible")
            else:
                if known.find(drawn) is None:
                    return Proposal(drawn, dict(trial.params), dict(trial.distributions))
                reason = "duplicate"
            self.refused[reason] += 1
            self.scratch.tell(trial, state=TrialState.FAIL)
        self.exhausted = True
        return None

    def _sampler(self, index: int, attempt: int) -> optuna.samplers.BaseSampler:
        seed = int(np.random.SeedSequence([self.seed, index, attempt]).generate_state(1)[0])
        ended = self.scratch.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if self.sampler == "random" or attempt >= PATIENCE or min(index, len(ended)) < START_UP:
            return _WeightedRandom(seed, self.announced)
        return _WeightedTPE(seed, self.announced, {name for trial in ended for name in trial.params})
