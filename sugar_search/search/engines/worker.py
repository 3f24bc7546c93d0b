"""A worker process: executes jobs that arrive as JSON lines and answers with JSON lines.

Started by the local engine as `python -m sugar_search.search.engines.worker`, so that a user's main module is never
imported again and a crash of one worker touches nothing else.

Protocol: in: {"job": ...}; out, per epoch: {"epoch": ...}, answered by {"go": true | false}; out, at the end:
{"end": {"state", "reason", "restart"}}.
"""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from typing import IO

from sugar_search.search.jobs import STOPPED, Execution, Job, Outcome

__all__ = ["main", "serve"]


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Executes jobs until `requests` ends."""

    def say(message: dict[str, object]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    for line in requests:
        execution = Execution(Job.from_dict(json.loads(line)["job"]))
        while not isinstance(result := execution.step(), Outcome):
            say({"epoch": result.to_dict()})
            if not json.loads(requests.readline() or '{"go": false}')["go"]:
                execution.close()
                result = Outcome(STOPPED)
                break
        say({"end": asdict(result)})


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
