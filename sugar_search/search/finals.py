"""The end of a study: who the finalists are, who wins, and a verdict that says what the seeds can decide."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sugar_search.search.compare import Comparison, compare, holm
from sugar_search.search.objective import Objective
from sugar_search.search.records import BASELINE, PROPOSAL, Candidate, TrialRecord, candidates, mean_std

__all__ = ["Verdict", "finalists", "judge", "pick_winner"]

Tests = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Verdict:
    """What a study found.

    Attributes:
        winner: title of the finalist with the best validation score on fresh seeds; it is what is exported.
        canonical: the winner's canonical form.
        unit: "test accuracy" or "test loss"; "value" where the user's own function says it.
        comparisons: each finalist against those before it: the best proposal against ReLU and the paper's best, and
            the paper's best against ReLU.
        tried: surrogates of which a validation score was looked at.
        text: the verdict in words.
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


def finalists(trials: Iterable[TrialRecord], first: Objective, paper: Collection[str] = ()) -> list[Candidate]:
    """ReLU, the paper's best other surrogate, and the best proposal by the first objective on the search's seeds.

    Args:
        trials: all trials of a study.
        first: what ranks.
        paper: canonical forms of the paper's surrogates: one that was proposed before it became a baseline is theirs.
    """
    scored = [c for c in candidates(trials) if c.score() is not None and c.state == "COMPLETE" and c.sugar]

    def best(pool: list[Candidate]) -> list[Candidate]:
        # What left the race early has fewer seeds; it counts only when nothing ran them all.
        full = [c for c in pool if not c.short] or pool
        return sorted(full, key=lambda c: (c.score() or 0.0) * (-1 if first.maximise else 1))[:1]

    def of_paper(candidate: Candidate) -> bool:
        return BASELINE in candidate.kinds or candidate.surrogate.canonical in paper

    relu = [c for c in scored if c.surrogate.name == "relu"]
    others = [c for c in scored if c.surrogate.name != "relu"]
    return relu + best([c for c in others if of_paper(c)]) + best([c for c in others if not of_paper(c)])


def pick_winner(finalists: Sequence[Candidate], objective: Objective) -> Candidate:
    """The best finalist on validation data: on the fresh seeds that all of them ran, else on the search's seeds."""
    common = set.intersection(*(set(c.scores(fresh=True)) for c in finalists))

    def score(candidate: Candidate) -> float:
        fresh = candidate.scores(fresh=True)
        value = mean_std(fresh[s] for s in common)[0] if common else candidate.score()
        assert value is not None
        return value

    return (max if objective.maximise else min)(finalists, key=score)


def judge(finalists: Sequence[Candidate], test: Tests, objective: Objective, tried: int) -> Verdict | None:
    """The verdict over the finalists; None when there is none.

    What is compared is fixed before any fresh seed is looked at (the finalists come from the search's seeds), so the
    tests are not biased by the choice of the winner.

    Args:
        finalists: ReLU, the paper's best and the best proposal, in this order, as far as each exists.
        test: test metrics by run id.
        objective: the study's first objective, which picks the winner.
        tried: surrogates of which a score was looked at.
    """
    if not finalists:
        return None
    winner = pick_winner(finalists, objective)
    metric = "accuracy" if any(m.get("accuracy") is not None for m in test.values()) else "loss"
    maximise = metric == "accuracy"
    if objective.metric == "value":
        metric, maximise = "value", objective.maximise
    unit = metric if metric == "value" else f"test {metric}"
    # Seeds that chose a finalist flatter it; they are used only when there are no others.
    fresh = all(c.scores(fresh=True) for c in finalists)
    comparisons = holm(
        [
            compare(
                subject.surrogate.title,
                _by_seed(subject, test, metric, fresh),
                other.surrogate.title,
                _by_seed(other, test, metric, fresh),
                maximise=maximise,
            )
            for index, subject in reversed(list(enumerate(finalists)))
            for other in finalists[:index]
        ]
    )
    text = " ".join([_headline(winner, objective, tried), *(_sentence(c, unit, fresh) for c in comparisons)])
    title = winner.surrogate.title
    return Verdict(title, winner.surrogate.canonical, unit, comparisons, tried, text)


def _by_seed(candidate: Candidate, test: Tests, metric: str, fresh: bool) -> dict[int, float]:
    seeds = candidate.scores(fresh=True if fresh else None)
    found = {s: test.get(candidate.runs[s].run, {}).get(metric) for s in seeds}
    return {s: v for s, v in found.items() if v is not None}


def _headline(winner: Candidate, objective: Objective, tried: int) -> str:
    title = winner.surrogate.title
    text = f"Best of {tried} surrogates tried, by validation {objective.name}: {title}"
    if winner.surrogate.name == "relu":
        return f"{text}; no surrogate beat plain ReLU."
    return f"{text}." if PROPOSAL in winner.kinds else f"{text}, a surrogate of the paper."


def _sentence(c: Comparison, unit: str, fresh: bool) -> str:
    def show(value: float, sign: str = "+") -> str:
        return f"{100 * value:{sign}.2f} points" if unit == "test accuracy" else f"{value + 0.0:{sign}.3g}"

    kind = "fresh seeds" if fresh else "seeds"
    head = f"{c.subject} against {c.against}:"
    if c.difference is None:
        why = "no fresh seed in common" if unit == "value" else "no common seed with a test result"
        return f"{head} not decided ({why})."
    if c.p is None or c.low is None or c.high is None or c.detectable is None:
        why = "one seed" if c.seeds == 1 else f"{c.seeds} {kind} without a spread to judge by"
        return f"{head} not decided ({why}; {unit} {show(c.difference)})."
    word = "not decided" if not c.decided else ("better" if c.difference > 0 else "worse")
    return (
        f"{head} {word} ({unit} {show(c.difference)}, 95% interval {show(c.low)} to {show(c.high)}, "
        f"p = {c.p:.2g} over {c.seeds} {kind}; detectable with 80% power: {show(c.detectable, '')})."
    )
