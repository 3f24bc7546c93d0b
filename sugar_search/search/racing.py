"""Which runs go on: epoch halving within a run, and a race between seeds.

Both are asynchronous successive halving (Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020) with
a reduction factor of 2, decided by the coordinator rather than by Optuna, so that several objectives and seeds work
alike. Baselines are never stopped, but their scores count as peers.
"""

import math
from collections.abc import Iterable, Sequence

from sugar_search.search.objective import Objective
from sugar_search.search.records import CONFIRMATION, TrialRecord, candidates, mean_std

__all__ = ["FIRST_RUNG", "MIN_PEERS", "goes_on", "in_better_half", "rungs", "scores_at"]

# No run is judged before this epoch: until then a validation loss says how far batch-norm statistics lag behind, which
# differs between surrogates by orders of magnitude and says nothing of how the run will end.
FIRST_RUNG = 4
# Below this many peers nothing is stopped: the median of a handful is noise.
MIN_PEERS = 5


def rungs(epochs: int) -> tuple[int, ...]:
    """The 1-based epochs after which a run is compared with its peers: half and three quarters of the way, rounded up.

    Later than the powers of two usual in successive halving: while an annealed learning rate is high, the order of the
    scores is mostly noise. None comes before `FIRST_RUNG` or after the last epoch but one.
    """
    return tuple(sorted({e for e in (math.ceil(epochs / 2), math.ceil(3 * epochs / 4)) if FIRST_RUNG <= e < epochs}))


def in_better_half(score: float, peers: Sequence[float], objective: Objective) -> bool:
    """True when `score` is at least the median of `peers` (which exclude it), or there are fewer than `MIN_PEERS`."""
    if len(peers) < MIN_PEERS:
        return True
    ahead = sum(objective.better(peer, score) for peer in peers)
    return ahead <= len(peers) / 2


def scores_at(epoch: int, trials: Iterable[TrialRecord], running: Iterable[Sequence[float]]) -> list[float]:
    """First objective after `epoch` of every run that got there: ended ones, and the `running` ones' scores so far."""
    ended = [run.scores for t in trials if t.kind != CONFIRMATION for run in t.runs.values()]
    return [scores[epoch - 1] for scores in [*ended, *running] if len(scores) >= epoch]


def goes_on(trial: TrialRecord, rivals: Iterable[TrialRecord], objective: Objective) -> bool:
    """True when a proposal's mean over its seeds so far is in the better half of its rivals' means over those."""
    others = candidates(t for t in rivals if t.surrogate != trial.surrogate)
    # The same seeds, so that neither the number of workers nor a lucky seed decides.
    scores = [[c.scores()[s] for s in trial.runs if s in c.scores()] for c in others]
    peers = [mean for s in scores if len(s) == len(trial.runs) and (mean := mean_std(s)[0]) is not None]
    own = mean_std(run.values[0] for run in trial.runs.values())[0]
    return own is None or in_better_half(own, peers, objective)
