"""Proposals come in rounds: those of one round are made before any result of the round is known.

So what is proposed depends on the results of earlier rounds alone, and not on where an earlier sitting was stopped.
"""

from collections.abc import Callable, Sequence

import optuna
from optuna.trial import TrialState, create_trial

from sugar_search.search.records import CONFIRMATION, PROPOSAL, TrialRecord
from sugar_search.search.sampler import Proposer
from sugar_search.search.store import Store

__all__ = ["peers_of", "teach"]


def teach(proposer: Proposer, store: Store, trials: Sequence[TrialRecord], first: int) -> None:
    """Builds the sampler's study anew, in the order of the trials, as the first proposal of a round must find it.

    Args:
        proposer: whose study is replaced.
        store: holds the choices and values of all trials.
        trials: all trials of the study.
        first: the index of the round's first proposal; the results of this one and later ones stay unknown.
    """
    kinds = {t.number: t.kind for t in trials if t.sugar and t.kind != CONFIRMATION}
    round_ = {t.number for t in [t for t in trials if t.kind == PROPOSAL][first:]}
    proposer.scratch = optuna.create_study(directions=store.study.directions)
    frozen = [f for f in store.frozen() if f.number in kinds]
    ended = [f for f in frozen if f.state.is_finished() and f.number not in round_]
    proposer.restore(
        [
            create_trial(
                state=f.state,
                values=f.values,
                params=f.params,
                distributions=f.distributions,
                intermediate_values=f.intermediate_values,
            )
            for f in ended
        ]
    )
    for each in frozen:  # those whose result is not known yet: the sampler keeps away from them
        if each not in ended and kinds[each.number] == PROPOSAL:
            proposer.scratch.add_trial(
                create_trial(state=TrialState.RUNNING, params=each.params, distributions=each.distributions)
            )


def peers_of(
    queue: Sequence[tuple[TrialRecord, int]], trials: Sequence[TrialRecord], length: int, alone: Callable[[str], bool]
) -> list[tuple[TrialRecord, int]]:
    """The runs in the queue that may share a process with the first one, itself included: of one kind and round."""
    index = {t.number: i // length for i, t in enumerate(t for t in trials if t.kind == PROPOSAL)}
    lead, seed = queue[0]
    if alone(lead.run(seed)) or not lead.sugar:
        return [queue[0]]
    return [
        (trial, seed)
        for trial, seed in queue
        if trial.sugar
        and trial.kind == lead.kind
        and index.get(trial.number) == index.get(lead.number)
        and not alone(trial.run(seed))
    ]
