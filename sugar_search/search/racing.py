"""Which runs go on: epoch halving within a run, and a race between seeds.

Both are asynchronous successive halving (Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020) with
a reduction factor of 2, decided by the coordinator rather than by Optuna, so that several objectives and seeds work
alike. Baselines are never stopped, but their scores count as peers.
"""

import math
from collections.abc import Sequence

from sugar_search.search.objective import Objective

__all__ = ["MIN_PEERS", "in_better_half", "rungs"]

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
