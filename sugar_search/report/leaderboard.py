"""The leaderboard of a study: one row per surrogate, with the spread between seeds."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sugar_search.report.likeness import likeness
from sugar_search.search.objective import OBJECTIVES, Objective
from sugar_search.search.records import Candidate, mean_std
from sugar_search.search.view import StudyView

__all__ = ["frame", "refused_line", "spread_line", "text"]

WIDTH = 32  # characters of a formula in the printed table


def frame(study: StudyView) -> pd.DataFrame:
    """The leaderboard, best first; surrogates without a complete run come last with their reason.

    Columns: rank, surrogate, kind, gain (E[g(z)^2]/0.5 for z ~ N(0, 1)), seeds (complete runs), score (first objective,
    mean over the search's seeds, which ranks), score std (sample standard deviation between all of its seeds), fresh
    (first objective, mean over the confirmation's seeds), loss, accuracy, sparsity, dead (validation, means over seeds,
    shares from 0 to 1), s/epoch, images/s, peak MB (most memory of any run: of the GPU, or of the whole process on a
    CPU), test, test std, state.
    """
    first = study.objectives[0]
    pool = study.candidates
    scored = [c for c in pool if c.score() is not None]
    scored.sort(key=lambda c: (c.score() or 0.0) * (-1 if first.maximise else 1))
    rest = [c for c in pool if c.score() is None]
    ranked = [*scored, *rest]
    gains = [like.gain for like in likeness([c.surrogate for c in ranked])]
    return pd.DataFrame([_row(study, rank, c, gain) for rank, (c, gain) in enumerate(zip(ranked, gains), 1)])


def _row(study: StudyView, rank: int, candidate: Candidate, gain: float) -> dict[str, Any]:
    runs = list(candidate.runs.values())
    metric = "accuracy" if any(r.metrics.get("accuracy") is not None for r in runs) else "loss"
    tests = [study.test[r.run].get(metric) for r in runs if r.run in study.test]
    test, test_std = mean_std([t for t in tests if t is not None])

    def metric_mean(name: str) -> float | None:
        values = [r.metrics.get(name) for r in runs]
        return mean_std([v for v in values if v is not None])[0]

    return {
        "rank": rank,
        "surrogate": candidate.title,
        "kind": candidate.kinds[0],
        "gain": gain,
        "seeds": len(runs),
        "score": candidate.score(),
        "score std": mean_std(candidate.scores().values())[1],
        "fresh": mean_std(candidate.scores(fresh=True).values())[0],
        "loss": metric_mean("loss"),
        "accuracy": metric_mean("accuracy"),
        "sparsity": metric_mean("sparsity"),
        "dead": metric_mean("dead"),
        "s/epoch": mean_std([r.seconds_per_epoch for r in runs])[0],
        "images/s": mean_std([r.images_per_second for r in runs])[0],
        "peak MB": max((r.peak_memory / 1e6 for r in runs if r.peak_memory is not None), default=None),
        "test": test,
        "test std": test_std,
        "state": candidate.state.lower() + (f": {candidate.reason}" if candidate.reason else ""),
    }


def spread_line(study: StudyView) -> str:
    """How far seeds alone move the score: what any difference has to be held against."""
    first = study.objectives[0]
    known = [(c, mean_std(c.scores().values())[1]) for c in study.candidates if len(c.runs) > 1]
    spreads = [(c, s) for c, s in known if s is not None]
    if not spreads:
        return "Spread between seeds: unknown, every surrogate ran one seed; differences are not decided."
    parts = [f"{c.title[:WIDTH]} ±{first.show(s)} ({len(c.runs)} seeds)" for c, s in spreads[:4]]
    return f"Spread between seeds ({first.name}, one standard deviation): {', '.join(parts)}"


def refused_line(study: StudyView) -> str:
    """What was drawn and not proposed, by reason, most frequent first."""
    counts = sorted(study.refused.items(), key=lambda item: (-item[1], item[0]))
    return "Drawn but not proposed: " + ", ".join(f"{count} {reason}" for reason, count in counts)


def text(study: StudyView, rows: int = 20) -> str:
    """The leaderboard as a table for the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    first = study.objectives[0]
    data = frame(study)
    title = f"{study.name}: validation {first.name} ± spread between seeds; fresh: mean on the confirmation's seeds"
    table = Table(title=title, title_justify="left")
    for name in _cells(first, {}):
        words = name in ("surrogate", "kind", "state")
        table.add_column(name, no_wrap=True, justify="left" if words else "right")
    for record in data.head(rows).to_dict("records"):
        row = {str(k): None if pd.isna(v) else v for k, v in record.items()}
        table.add_row(*(Text(cell) for cell in _cells(first, row).values()))
    console = Console(width=206, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
        if len(data) > rows:
            console.print(f"... and {len(data) - rows} more in trials.csv", highlight=False)
        console.print(spread_line(study), highlight=False, markup=False)
        if study.refused:
            console.print(refused_line(study), highlight=False, markup=False)
    return capture.get()


def _cells(first: Objective, row: Mapping[str, Any]) -> dict[str, str]:
    """The printed columns of a row, in order; of an empty row, their names."""
    percent = OBJECTIVES["accuracy"].show
    test = OBJECTIVES["loss" if row.get("accuracy") is None else "accuracy"].show
    seeds, time, gain = row.get("seeds", 0), row.get("s/epoch"), row.get("gain")
    speed, memory = row.get("images/s"), row.get("peak MB")
    cells = {
        "#": str(row.get("rank")),
        "surrogate": _short(row.get("surrogate", "")),
        "kind": row.get("kind", ""),
        "gain": "-" if gain is None else f"{gain:.2f}",
        "seeds": str(seeds),
        first.name: _plus_minus(first.show, row.get("score"), row.get("score std"), seeds),
        "fresh": first.show(row.get("fresh")),
    }
    cells |= {n: percent(row.get(n)) for n in ("accuracy", "sparsity", "dead") if n != first.name}
    return cells | {
        "s/epoch": "-" if time is None else f"{time:.2f}",
        "images/s": "-" if speed is None else f"{speed:.0f}",
        "peak MB": "-" if memory is None else f"{memory:.0f}",
        "test": _plus_minus(test, row.get("test"), row.get("test std"), seeds),
        "state": _short(row.get("state", ""), 20),
    }


def _short(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _plus_minus(show: Any, mean: float | None, std: float | None, seeds: int) -> str:
    if mean is None:
        return "-"
    return f"{show(mean)} ± {show(std)}" if std is not None else f"{show(mean)} (1 seed)" if seeds == 1 else show(mean)
