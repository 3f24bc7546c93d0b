"""A worker process: executes jobs that arrive as JSON lines and answers with JSON lines.

Started by the local engine as `python -m sugar_search.search.engines.worker`, so that a user's main module is never
imported again and a crash of one worker touches nothing else.

Protocol: in: {"jobs": [...]}; out, per epoch: {"records": {run: ...}, "ends": {run: {"state", "reason", ...}}}; while
any run goes on answered by {"stop": [run, ...]}, the runs to end early, whose ends follow at once.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from typing import IO

from sugar_search.search.execution import Execution, Step
from sugar_search.search.jobs import Job, Outcome
from sugar_search.training.run import EpochRecord

__all__ = ["main", "serve"]


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Executes jobs until `requests` ends."""

    def say(message: dict[str, object]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def told(found: Step) -> None:
        records = {run: each.to_dict() for run, each in found.items() if isinstance(each, EpochRecord)}
        ends = {run: asdict(each) for run, each in found.items() if isinstance(each, Outcome)}
        say({"records": records, "ends": ends})

    for line in requests:
        execution = Execution([Job.from_dict(each) for each in json.loads(line)["jobs"]])
        while execution.live:
            told(execution.step())
            if execution.live:
                if not (answer := requests.readline()):
                    execution.close()  # the sitting ends: checkpoints are written
                    return
                if stopped := json.loads(answer)["stop"]:
                    told(execution.stop(stopped))


def _follow_parent() -> None:
    """Ends this process soon after its parent: an orphan must not go on writing checkpoints."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Entry of the worker process."""
    # Ctrl-C reaches the whole terminal group; the coordinator alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    # Answers keep the real standard output; whatever else prints goes to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        serve(sys.stdin, answers)
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()
