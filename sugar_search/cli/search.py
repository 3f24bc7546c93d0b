"""`sugar-search --arch ... --dataset ...`: runs or resumes a study."""

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sugar_search.search.view import StudyView

__all__ = ["run"]


def run(*, as_json: bool, **options: Any) -> None:
    """Runs a sitting with a live view, writes the results folder, prints the leaderboard and the verdict."""
    from sugar_search.cli._sitting import notes, sit
    from sugar_search.search.plan import build_plan
    from sugar_search.search.preflight import preflight

    with notes(as_json=as_json):
        plan = build_plan(**options)
        said = preflight(plan)
    study = sit(plan, options, said, as_json=as_json)
    if as_json:
        _print_json(study)
    else:
        _print_results(study)
    if study.trials and all(t.state == "FAIL" for t in study.trials):
        print(f"sugar-search: every trial failed; the first: {study.trials[0].reason}", file=sys.stderr)
        raise typer.Exit(1)


def _print_json(study: "StudyView") -> None:
    from sugar_search.report.leaderboard import frame

    records = json.loads(frame(study).to_json(orient="records"))
    print(json.dumps({"event": "done", "leaderboard": records, "verdict": study.verdict, "folder": str(study.folder)}))


def _print_results(study: "StudyView") -> None:
    from sugar_search.report.leaderboard import text

    print(text(study))
    if study.verdict:
        print(study.verdict["text"])
    if study.best is not None:
        print(f"Best surrogate: {study.best.title}")
        print(f"  derivative  {study.best.text}")
        print(f"  module      {study.folder / 'best_surrogate.py'}")
    print(f"  results     {study.folder}")
