"""What a user sees while a study runs."""

import io
import json
import os
import pty
import select
import subprocess
import sys

from sugar_search.report.board import Board, duration
from sugar_search.report.live import json_lines, plain_lines
from sugar_search.search.objective import OBJECTIVES

STUDY = {"event": "study", "name": "s", "folder": "f", "resumed": False, "identity": {}, "epochs": 3, "trials": 4}
STUDY |= {"seconds": None, "workers": 2, "earlier": [{"kind": "baseline", "title": "ReLU", "values": [0.5]}]}


def trial(number, kind, title, value, reason=None):
    values = [] if value is None else [value]
    return {"event": "trial", "trial": number, "kind": kind, "title": title, "values": values} | {
        "state": "COMPLETE" if values else "PRUNED",
        "reason": reason,
        "proposals": 1,
    }


def test_durations():
    assert [duration(s) for s in (None, 0, 59.6, 185, 3720)] == ["-", "0s", "1m00s", "3m05s", "1h02m"]


def test_the_board_follows_the_direction_of_the_objective():
    for name, best in (("loss", 0.3), ("accuracy", 0.5)):
        board = Board(OBJECTIVES[name])
        board.take(STUDY)
        board.take(trial(1, "baseline", "ELU", 0.4))
        board.take(trial(2, "proposal", "mine", 0.3))
        board.take(trial(3, "confirmation", "mine", 0.001 if name == "loss" else 0.999))
        assert board.best[1] == best
        assert board.relu == ("ReLU", 0.5)
        assert board.paper == ("ELU", 0.4)


def test_plain_lines_name_what_ended_and_why():
    out = io.StringIO()
    with plain_lines(OBJECTIVES["loss"], out) as emit:
        emit(STUDY)
        emit(trial(1, "baseline", "ELU", 0.4))
        emit(trial(2, "proposal", "sigmoid(x)", None, "worse than half"))
        emit({"event": "epoch", "proposals": 1})
        emit({"event": "note", "text": "space is empty"})
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert "best 0.4 ELU" in lines[1]
    assert "ReLU 0.5" in lines[1]
    assert "pruned: worse than half" in lines[2]
    assert lines[3] == "space is empty"


def test_json_lines_are_the_events():
    out = io.StringIO()
    with json_lines(out) as emit:
        emit(STUDY)
        emit(trial(1, "baseline", "ELU", 0.4))
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [STUDY, trial(1, "baseline", "ELU", 0.4)]


def test_a_terminal_gets_a_live_table(tmp_path):
    """The real command in a pseudo-terminal."""
    main, side = pty.openpty()
    words = "--arch mlp --dataset digits --space families --epochs 1 --trials 2 --confirm 0 --workers 0".split()
    command = [sys.executable, "-c", "from sugar_search.cli import main; main()", *words, "--out", str(tmp_path)]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "50"}
    process = subprocess.Popen(command, stdout=side, stderr=side, env=environment)
    os.close(side)
    shown = b""
    while select.select([main], [], [], 120)[0]:
        try:
            shown += os.read(main, 65536)
        except OSError:  # the other end has closed
            break
    assert process.wait() == 0, shown
    text = shown.decode()
    for word in ("trial", "surrogate", "epoch", "state", "B-SiLU(α=1.67)", "paper's best", "time left", "running"):
        assert word in text
    # The leaderboard stays on the screen after the live table is gone.
    assert "Spread between seeds" in text.rsplit("running", 1)[-1]
