"""Executes runs on this machine: in worker processes, or in this process with 0 workers."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sugar_search.search.coordinator import Coordinator
from sugar_search.search.execution import Execution, Step
from sugar_search.search.jobs import DIED, Job, Outcome, with_device
from sugar_search.training.run import EpochRecord

__all__ = ["device_of", "run_local"]

CLOSE_SECONDS = 5.0  # what workers are given to write their checkpoints when the sitting ends


def device_of(worker: int, gpus: float) -> str:
    """The torch device of a worker when each trial takes `gpus` GPUs (a share, or whole ones)."""
    return "cpu" if gpus <= 0 else f"cuda:{int(worker * gpus + 1e-9)}"


def run_local(coordinator: Coordinator) -> None:
    """Executes the coordinator's jobs until it is done."""
    plan = coordinator.plan
    if plan.workers == 0:
        _run_here(coordinator, device_of(0, plan.gpus))
        return
    pool = [_Worker(i, device_of(i, plan.gpus), plan.threads, plan.folder / "work") for i in range(plan.workers)]
    try:
        with selectors.DefaultSelector() as selector:
            _serve(coordinator, pool, selector)
    finally:
        _close(pool)


def _close(pool: list["_Worker"]) -> None:
    """Lets the workers write their checkpoints and ends them."""
    for worker in pool:
        worker.hang_up()
    until = time.monotonic() + CLOSE_SECONDS
    for worker in pool:
        worker.kill(patience=until - time.monotonic())


def _passed_on(coordinator: Coordinator, found: Step) -> list[str]:
    """Tells the coordinator of an epoch; returns the runs that must stop."""
    records = {run: each for run, each in found.items() if isinstance(each, EpochRecord)}
    stopped = coordinator.on_epochs(records)
    for run, outcome in found.items():
        if isinstance(outcome, Outcome):
            coordinator.on_end(run, outcome)
    return stopped


def _run_here(coordinator: Coordinator, device: str) -> None:
    while not coordinator.done:
        # Planning the next stage may take a second look.
        if not (jobs := coordinator.next_jobs()):
            continue
        execution = Execution([with_device(job, device) for job in jobs])
        try:
            while execution.live:
                if stopped := _passed_on(coordinator, execution.step()):
                    _passed_on(coordinator, execution.stop(stopped))
        finally:
            execution.close()


def _serve(coordinator: Coordinator, pool: list["_Worker"], selector: selectors.BaseSelector) -> None:
    while not coordinator.done:
        idle = [worker for worker in pool if not worker.jobs]
        for busy, worker in enumerate(idle):
            if jobs := coordinator.next_jobs(len(idle) - busy):
                worker.begin([with_device(job, worker.device) for job in jobs], selector)
        for key, _ in selector.select(timeout=1.0):
            _attend(key.data, coordinator, selector)


def _attend(worker: "_Worker", coordinator: Coordinator, selector: selectors.BaseSelector) -> None:
    """Handles what a worker said, or its death."""
    for message in worker.read():
        found: Step = {run: EpochRecord.from_dict(each) for run, each in message["records"].items()}
        found |= {run: Outcome(**each) for run, each in message["ends"].items()}
        ended = [each for each in found.values() if isinstance(each, Outcome)]
        worker.jobs = [job for job in worker.jobs if not isinstance(found.get(job.run), Outcome)]
        if any(each.restart for each in ended) and not worker.jobs:
            worker.kill(selector)
        stopped = _passed_on(coordinator, found)
        if message["records"]:
            worker.say({"stop": stopped})
    if worker.ended:
        reason = worker.last_words()
        worker.kill(selector)
        jobs, worker.jobs = worker.jobs, []
        for job in jobs:
            coordinator.on_end(job.run, Outcome(DIED, reason, shared=len(jobs) > 1))


@dataclass
class _Worker:
    """A worker process, started when its first job comes and again after a death."""

    index: int
    device: str
    threads: int
    folder: Path
    jobs: list[Job] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    ended: bool = False
    _buffer: bytes = b""

    def begin(self, jobs: list[Job], selector: selectors.BaseSelector) -> None:
        if self.process is None:
            self._start(selector)
        self.jobs = jobs
        self.say({"jobs": [job.to_dict() for job in jobs]})

    def _start(self, selector: selectors.BaseSelector) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        threads = str(self.threads)
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "sugar_search.search.engines.worker"]
        with self._log().open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
            )
        self.ended, self._buffer = False, b""
        assert self.process.stdout is not None
        selector.register(self.process.stdout, selectors.EVENT_READ, self)

    def _log(self) -> Path:
        return self.folder / f"worker-{self.index}.log"

    def say(self, message: dict[str, object]) -> None:
        assert self.process is not None and self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; the closed output says so to the selector

    def read(self) -> list[dict[str, Any]]:
        """The complete messages that have arrived."""
        assert self.process is not None and self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        self.ended = not data
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def last_words(self) -> str:
        """Why the process died, from its exit code and the end of its log."""
        assert self.process is not None
        code = self.process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = self._log().read_text(encoding="utf-8", errors="replace").strip().splitlines()
        tail = f": {lines[-1][:200]}" if lines and code > 0 else ""
        return f"the worker died ({how}){tail}"

    def hang_up(self) -> None:
        """Tells the process that nothing more will come."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()

    def kill(self, selector: selectors.BaseSelector | None = None, patience: float = 0.0) -> None:
        if self.process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=max(0.0, patience))
        assert self.process.stdin is not None and self.process.stdout is not None
        if selector is not None:
            selector.unregister(self.process.stdout)
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process = None
