"""Proposes surrogates: an Optuna sampler over a space, without ever proposing the same function twice.

Sampling happens in a scratch study in memory; the storage receives each proposal in one transaction afterwards. The
scratch study is rebuilt from the storage when a study is resumed.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sugar_search.errors import InputError
from sugar_search.search.space import Space
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["SAMPLERS", "Proposal", "Proposer"]

SAMPLERS = ("tpe", "random")

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
        handle: the scratch trial, for `Proposer.tell`.
    """

    surrogate: Surrogate
    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    handle: int


class _TrialChooser:
    """A chooser that lets an Optuna trial decide."""

    def __init__(self, trial: optuna.trial.BaseTrial) -> None:
        self.trial = trial

    def categorical(self, name: str, options: Sequence[Any]) -> Any:
        return self.trial.suggest_categorical(name, list(options))

    def float(self, name: str, low: float, high: float, log: bool) -> float:
        return self.trial.suggest_float(name, low, high, log=log)


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
        self.scratch = optuna.create_study(directions=list(directions))
        self.refused: dict[str, int] = {"duplicate": 0, "inadmissible": 0}
        self.exhausted = False

    def restore(self, trials: Sequence[FrozenTrial]) -> None:
        """Lets the sampler learn from the ended trials of an earlier sitting."""
        self.scratch.add_trials([t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)])

    def adopt(self, surrogate: Surrogate) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """The choices behind a surrogate that was not proposed (a baseline); empty when the space lacks it."""
        choices = self.space.choices(surrogate)
        if choices is None:
            return {}, {}
        trial = optuna.trial.FixedTrial(choices)
        self.space.draw(_TrialChooser(trial))
        return dict(trial.params), dict(trial.distributions)

    def propose(self, index: int, known: Container[str]) -> Proposal | None:
        """The `index`-th proposal (from 0), or None when the space holds nothing new.

        Args:
            index: number of earlier proposals in the study.
            known: canonical forms that must not be proposed again.
        """
        for attempt in range(EXHAUSTED):
            self.scratch.sampler = self._sampler(index, attempt)
            trial = self.scratch.ask()
            try:
                drawn = self.space.draw(_TrialChooser(trial))
            except InputError:
                reason = "inadmissible"
            else:
                if drawn.canonical not in known:
                    return Proposal(drawn, dict(trial.params), dict(trial.distributions), trial.number)
                reason = "duplicate"
            self.refused[reason] += 1
            self.scratch.tell(trial, state=TrialState.FAIL)
        self.exhausted = True
        return None

    def tell(self, handle: int | None, frozen: FrozenTrial) -> None:
        """Lets the sampler learn how a trial ended; `handle` is None for a trial that was not proposed here."""
        if handle is None:
            self.restore([frozen])
        elif frozen.state == TrialState.COMPLETE:
            self.scratch.tell(handle, list(frozen.values))
        else:
            # A pruned trial takes its curve along, which TPE reads; ask/tell alone could not carry it over.
            self.scratch.tell(handle, state=TrialState.FAIL)
            if frozen.state == TrialState.PRUNED:
                self.scratch.add_trial(
                    create_trial(
                        state=TrialState.PRUNED,
                        params=frozen.params,
                        distributions=frozen.distributions,
                        intermediate_values=frozen.intermediate_values,
                    )
                )

    def _sampler(self, index: int, attempt: int) -> optuna.samplers.BaseSampler:
        seed = int(np.random.SeedSequence([self.seed, index, attempt]).generate_state(1)[0])
        if self.sampler == "random" or attempt >= PATIENCE:
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
