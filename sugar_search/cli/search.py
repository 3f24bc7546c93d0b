"""`sugar-search --arch ... --dataset ...`: runs or resumes a study."""

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sugar_search.search.view import StudyView

__all__ = ["run"]


def run(*, as_json: bool, **options: Any) -> None:
    """Runs a sitting with a live view, writes the results folder, prints the leaderboard and the verdict."""
    from sugar_search.report.folder import write_folder, write_run_json
    from sugar_search.report.live import live_view
    from sugar_search.search.plan import build_plan
    from sugar_search.search.preflight import preflight
    from sugar_search.search.sitting import Interrupted, run_sitting
    from sugar_search.search.view import read_study

    plan = build_plan(**options)
    preflight(plan)
    try:
        with live_view(plan.objectives[0], as_json=as_json) as emit:

            def watch(event: dict[str, Any]) -> None:
                if event["event"] == "study":
                    write_run_json(plan.folder, options, plan.identity)
                emit(event)

            study = run_sitting(plan, watch)
    except Interrupted as stop:
        write_folder(read_study(str(plan.folder), plan.folder.parent, plan.url))
        print(f"stopped; everything finished is saved. Go on with: {_command()}", file=sys.stderr)
        raise typer.Exit(128 + stop.number) from None
    write_folder(study)
    if as_json:
        _print_json(study)
    else:
        _print_results(study)
    if all(t.state == "FAIL" for t in study.trials):
        print(f"sugar-search: every trial failed; the first: {study.trials[0].reason}", file=sys.stderr)
        raise typer.Exit(1)


def _command() -> str:
    """What was typed, without a password in a storage URL."""
    from sugar_search.search.store import without_password

    return shlex.join(["sugar-search", *(without_password(w) if "://" in w else w for w in sys.argv[1:])])


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
