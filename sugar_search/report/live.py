"""What a user sees while a study runs: a live table, plain lines when not in a terminal, or JSON lines.

Each view is a context manager that is called with one event (a dictionary) at a time.
"""

import contextlib
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from sugar_search.report.board import Board, duration
from sugar_search.search.objective import Objective

__all__ = ["json_lines", "live_view", "plain_lines"]

Emit = Callable[[dict[str, Any]], None]

ROWS = 14  # trials on the live table


def live_view(objective: Objective, *, as_json: bool, out: IO[str] | None = None) -> Any:
    """The view that fits: JSON lines when asked for, a live table in a terminal, else plain lines."""
    out = out or sys.stdout
    if as_json:
        return json_lines(out)
    return rich_table(objective) if out.isatty() else plain_lines(objective, out)


def _say(line: str, out: IO[str]) -> None:
    """Prints a line; when whoever read it has gone (head, less), the study is worth more than the line."""
    with contextlib.suppress(BrokenPipeError):
        print(line, file=out, flush=True)


@contextmanager
def json_lines(out: IO[str]) -> Iterator[Emit]:
    """One JSON object per event."""

    def emit(event: dict[str, Any]) -> None:
        _say(json.dumps(event), out)

    yield emit


@contextmanager
def plain_lines(objective: Objective, out: IO[str]) -> Iterator[Emit]:
    """One line per trial that ends, and per note; epochs are left out."""
    board = Board(objective)

    def emit(event: dict[str, Any]) -> None:
        board.take(event)
        if line := _line(event, board):
            _say(line, out)

    yield emit


def _line(event: dict[str, Any], board: Board) -> str | None:
    kind = event["event"]
    if kind == "study":
        word = "resuming" if event["resumed"] else "starting"
        limit = "" if event["seconds"] is None else f", {duration(event['seconds'])} for this sitting"
        return f"{word} study {event['name']} in {event['folder']} ({event['workers']} workers{limit})"
    if kind == "trial":
        state = f" [{event['state'].lower()}: {event['reason']}]" if event["reason"] else ""
        score = board.show(event["values"][0]) if event["values"] else "-"
        what = f"#{event['trial']} {event['kind']} {event['title']}"
        return f"{what}: {board.objective.name} {score}{state} | {board.summary()}"
    if kind == "run" and event["state"] == "died":
        return f"#{event['trial']} seed {event['seed']}: {event['reason']}"
    return str(event["text"]) if kind == "note" else None


@contextmanager
def rich_table(objective: Objective) -> Iterator[Emit]:
    """A live table: running and latest trials, best so far against ReLU and the paper's best, time left."""
    from rich.console import Console
    from rich.live import Live

    board = Board(objective)
    rows: dict[str, dict[str, Any]] = {}
    order: deque[str] = deque()
    console = Console()
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def emit(event: dict[str, Any]) -> None:
            board.take(event)
            if "run" in event:
                key = event["run"]
                if key not in rows:
                    order.append(key)
                rows[key] = {**rows.get(key, {}), **event}
                while len(order) > ROWS:
                    rows.pop(order.popleft(), None)
            elif event["event"] == "trial":
                for row in rows.values():
                    if row["trial"] == event["trial"] and row["event"] == "run":
                        row["state"], row["reason"] = event["state"].lower(), event["reason"]
            elif (line := _line(event, board)) is not None:
                live.console.print(line, highlight=False, markup=False)
            live.update(_table([rows[key] for key in order], board))

        yield emit


def _table(rows: list[dict[str, Any]], board: Board) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=board.summary(), caption_justify="left", expand=True)
    for name, ratio in (
        ("trial", 1),
        ("surrogate", 6),
        ("seed", 1),
        ("epoch", 1),
        (board.objective.name, 2),
        ("state", 2),
    ):
        table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
    for row in rows:
        score = row.get("score") if row["event"] != "run" else (row["values"][0] if row["values"] else None)
        epoch = row.get("epoch") or row.get("epochs") or 0
        state = "running" if row["event"] in ("start", "epoch") else row["state"]
        style = {"running": "cyan", "failed": "red", "died": "red", "fail": "red", "stopped": "dim", "pruned": "dim"}
        table.add_row(
            str(row["trial"]),
            Text(row["title"]),
            str(row["seed"]),
            f"{epoch}/{board.epochs}",
            board.show(score),
            Text(state, style=style.get(state, "green")),
        )
    return table
