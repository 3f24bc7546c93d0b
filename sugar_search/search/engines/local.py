"""Executes runs on this machine: in worker processes, or in this process with 0 workers."""

import json
import os
import selectors
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sugar_search.search.coordinator import Coordinator
from sugar_search.search.jobs import DIED, STOPPED, Execution, Job, Outcome, with_device
from sugar_search.training.run import EpochRecord

__all__ = ["device_of", "run_local"]


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
        for worker in pool:
            worker.kill()


def _run_here(coordinator: Coordinator, device: str) -> None:
    while not coordinator.done:
        job = coordinator.next_job()
        if job is None:
            continue  # planning the next stage may take a second look
        execution = Execution(with_device(job, device))
        while not isinstance(result := execution.step(), Outcome):
            if not coordinator.on_epoch(job.run, result):
                execution.close()
                result = Outcome(STOPPED)
                break
        coordinator.on_end(job.run, result)


def _serve(coordinator: Coordinator, pool: list["_Worker"], selector: selectors.BaseSelector) -> None:
    while not coordinator.done:
        for worker in pool:
            if worker.job is None and (job := coordinator.next_job()) is not None:
                worker.begin(job, selector)
        for key, _ in selector.select(timeout=1.0):
            _attend(key.data, coordinator, selector)


def _attend(worker: "_Worker", coordinator: Coordinator, selector: selectors.BaseSelector) -> None:
    """Handles what a worker said, or its death."""
    for message in worker.read():
        assert worker.job is not None
        if "epoch" in message:
            go = coordinator.on_epoch(worker.job.run, EpochRecord.from_dict(message["epoch"]))
            worker.say({"go": go})
        else:
            outcome = Outcome(**message["end"])
            job, worker.job = worker.job, None
            if outcome.restart:
                worker.kill(selector)
            coordinator.on_end(job.run, outcome)
    if worker.ended:
        reason = worker.last_words()
        worker.kill(selector)
        if worker.job is not None:
            job, worker.job = worker.job, None
            coordinator.on_end(job.run, Outcome(DIED, reason))


@dataclass
class _Worker:
    """A worker process, started when its first job comes and again after a death."""

    index: int
    device: str
    threads: int
    folder: Path
    job: Job | None = None
    process: subprocess.Popen[bytes] | None = None
    ended: bool = False
    _buffer: bytes = b""

    def begin(self, job: Job, selector: selectors.BaseSelector) -> None:
        if self.process is None:
            self._start(selector)
        self.job = job
        self.say({"job": with_device(job, self.device).to_dict()})

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

    def read(self) -> list[dict[str, object]]:
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

    def kill(self, selector: selectors.BaseSelector | None = None) -> None:
        if self.process is None:
            return
        assert self.process.stdin is not None and self.process.stdout is not None
        if selector is not None:
            selector.unregister(self.process.stdout)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None
