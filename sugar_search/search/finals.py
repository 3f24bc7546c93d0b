"""The end of a study: the test set read once per finalist's run, and a verdict that says what the seeds can decide."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sugar_search.search.objective import Objective
from sugar_search.search.records import BASELINE, PROPOSAL, Candidate, TrialRecord, candidates, mean_std

__all__ = ["Comparison", "Verdict", "compare", "finalists", "judge", "pick_winner"]

CONFIDENCE = 0.95
POWER = 0.8


@dataclass(frozen=True)
class Comparison:
    """A winner against another finalist on the test set, paired by seed.

    Attributes:
        against: title of the other finalist.
        seeds: how many seeds both ran.
        difference: mean of (winner - other), positive when the winner is better; None without common seeds.
        low, high: 95 % interval of the difference; None with fewer than two seeds.
        p: two-sided paired t-test.
        detectable: smallest true difference found with 80 % power at this spread and number of seeds.
    """

    against: str
    seeds: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None

    @property
    def decided(self) -> bool:
        """True when the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Verdict:
    """What a study found.

    Attributes:
        winner: title of the finalist chosen on validation data; its surrogate is what is exported.
        canonical: the winner's canonical form.
        unit: "test accuracy" or "test loss".
        comparisons: against ReLU and against the paper's best, as far as they are other finalists.
        tried: surrogates whose validation score was looked at.
        text: the verdict in one sentence per comparison.
    """

    winner: str
    canonical: str
    unit: str
    comparisons: tuple[Comparison, ...]
    tried: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def finalists(trials: Iterable[TrialRecord], first: Objective) -> list[Candidate]:
    """ReLU, the paper's best other surrogate, and the best proposal by the first objective on the search's seeds.

    A proposal that left the race early has fewer seeds; it is compared only when no proposal ran them all.
    """
    scored = [c for c in candidates(trials) if c.score() is not None and c.state == "COMPLETE"]

    def best(pool: list[Candidate]) -> list[Candidate]:
        most = max((len(c.scores(fresh=False)) for c in pool), default=0)
        full = [c for c in pool if len(c.scores(fresh=False)) == most]
        return sorted(full, key=lambda c: (c.score() or 0.0) * (-1 if first.maximise else 1))[:1]

    relu = [c for c in scored if c.surrogate.name == "relu"]
    paper = [c for c in scored if BASELINE in c.kinds and c.surrogate.name != "relu"]
    proposed = [c for c in scored if c.kinds[0] == PROPOSAL]
    return relu + best(paper) + best(proposed)


def pick_winner(finalists: Sequence[Candidate], objective: Objective) -> Candidate:
    """The best finalist on validation data: by the fresh seeds when all have them, else by the search's seeds."""
    fresh = all(c.scores(fresh=True) for c in finalists)

    def score(candidate: Candidate) -> float:
        value = mean_std(candidate.scores(fresh=True).values())[0] if fresh else candidate.score()
        assert value is not None
        return value

    return (max if objective.maximise else min)(finalists, key=score)


def compare(winner: Mapping[int, float], other: Mapping[int, float], against: str, *, maximise: bool) -> Comparison:
    """Compares test values by seed; only seeds that both have count."""
    from scipy import stats

    seeds = sorted(set(winner) & set(other))
    sign = 1 if maximise else -1
    gaps = [sign * (winner[s] - other[s]) for s in seeds]
    mean, spread = mean_std(gaps)
    if mean is None or spread is None:
        return Comparison(against, len(seeds), mean)
    n = len(gaps)
    error = spread / math.sqrt(n)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    # Gaps without a spread leave nothing to judge by: the statistic would divide by zero.
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else (1.0 if mean == 0 else 0.0)
    detectable = (reach + float(stats.t.ppf(POWER, n - 1))) * error
    return Comparison(against, n, mean, mean - reach * error, mean + reach * error, p, detectable)


def judge(
    finalists: Sequence[Candidate],
    test: Mapping[str, Mapping[str, float | None]],
    objective: Objective,
    tried: int,
) -> Verdict | None:
    """The verdict over the finalists; None when there is none.

    Args:
        finalists: as chosen on validation data.
        test: test metrics by run id.
        objective: the study's first objective, which picks the winner.
        tried: surrogates whose score was looked at.
    """
    if not finalists:
        return None
    winner = pick_winner(finalists, objective)
    metric = "accuracy" if any(m.get("accuracy") is not None for m in test.values()) else "loss"
    fresh = all(c.scores(fresh=True) for c in finalists)

    def by_seed(candidate: Candidate) -> dict[int, float]:
        chosen = candidate.scores(fresh=True if fresh else None)
        found = {s: test.get(r.run, {}).get(metric) for s, r in candidate.runs.items() if s in chosen}
        return {s: v for s, v in found.items() if v is not None}

    others = [c for c in finalists if c is not winner]
    comparisons = tuple(
        compare(by_seed(winner), by_seed(c), c.surrogate.title, maximise=metric == "accuracy") for c in others
    )
    title = winner.surrogate.title
    sentences = [_sentence(title, c, metric, fresh) for c in comparisons]
    head = f"{title} has the best validation {objective.name} of {tried} surrogates tried"
    if winner.surrogate.name == "relu":
        head += ": nothing beat plain ReLU"
    elif "proposal" not in winner.kinds:
        head += ": a surrogate of the paper wins"
    text = ". ".join([head, *sentences]) + "."
    return Verdict(title, winner.surrogate.canonical, f"test {metric}", comparisons, tried, text)


def _sentence(title: str, c: Comparison, metric: str, fresh: bool) -> str:
    unit, scale = (" points", 100.0) if metric == "accuracy" else ("", 1.0)
    if c.difference is None:
        return f"Against {c.against}: not decided (no common seed with a test result)"
    if c.p is None or c.low is None or c.high is None or c.detectable is None:
        return f"Against {c.against}: not decided (one seed; difference {scale * c.difference:+.3g}{unit})"
    word = "not decided" if not c.decided else ("better" if c.difference > 0 else "worse")
    kind = "fresh seeds" if fresh else "seeds"
    return (
        f"Against {c.against}: {word} (test {metric} {scale * c.difference:+.3g}{unit}, 95% interval "
        f"{scale * c.low:+.3g} to {scale * c.high:+.3g}, p = {c.p:.2g}, {c.seeds} {kind}, "
        f"smallest detectable difference {scale * c.detectable:.2g}{unit})"
    )
