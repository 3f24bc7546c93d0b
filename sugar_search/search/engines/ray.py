"""Executes runs with Ray Tune: Tune places them, the study decides.

Tune asks the study's own searcher for runs and the study's own scheduler whether each goes on; both pass the question
to the coordinator. Actors are reused from run to run. What Tune writes is scratch in a temporary folder: it is never
read again, and a resumed study starts a new Tuner from Optuna's storage.
"""

import json
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from sugar_search.errors import InputError, SugarError
from sugar_search.search.coordinator import Coordinator
from sugar_search.search.execution import Execution
from sugar_search.search.jobs import DIED, STOPPED, Job, Outcome, with_device
from sugar_search.training.run import EpochRecord

# Read by Ray when it is imported. Its memory monitor can end a whole study; our runs are small and a dead worker is
# handled. Its own result files are not used.
os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# Tune would swallow Ctrl-C and end as if all were well.
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

__all__ = ["run_ray"]

logger = logging.getLogger("sugar_search")

TUNER_TRIES = 3
OBJECT_STORE_BYTES = 100 * 2**20  # runs exchange a few kilobytes


class _Actor(tune.Trainable):
    """A worker: one step is one epoch, the step after the last one says how the run ended."""

    def setup(self, config: dict[str, Any]) -> None:
        job = Job.from_dict(json.loads(config["job"]))
        # Ray shows each actor only the GPU it gave it, as device 0.
        device = "cuda" if config["gpus"] > 0 else "cpu"
        self.job, self.execution = job, Execution([with_device(job, device)])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        # The run before has ended, or was stopped: it leaves no checkpoint.
        self.execution.stop([self.job.run])
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        result = self.execution.step()[self.job.run]
        if isinstance(result, Outcome):
            return {"end": json.dumps(asdict(result)), "done": True}
        return {"epoch": json.dumps(result.to_dict())}

    def cleanup(self) -> None:
        self.execution.close()


class _Searcher(Searcher):
    """Asks the coordinator for the next run, and tells it how a run ended."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__(metric="training_iteration", mode="max")  # present in every result; not used
        self.coordinator = coordinator
        self.runs: dict[str, str] = {}
        self.errors: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        job = self.coordinator.next_job()
        if job is None:
            return Searcher.FINISHED if self.coordinator.done else None
        self.runs[trial_id] = job.run
        return {"job": json.dumps(job.to_dict()), "gpus": self.coordinator.plan.gpus}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        run = self.runs.pop(trial_id)
        if error:
            outcome = Outcome(DIED, f"the worker died ({self.errors.pop(trial_id, 'Ray does not say why')})")
        elif result and "end" in result:
            outcome = Outcome(**json.loads(result["end"]))
        else:
            outcome = Outcome(STOPPED)
        self.coordinator.on_end(run, outcome)

    def abandon(self) -> None:
        """Gives back the runs of a Tuner that stopped: no fault of theirs, so they do not count as tried."""
        for trial_id in list(self.runs):
            self.coordinator.on_lost(self.runs.pop(trial_id))

    # Tune saves its searcher as it goes; the study needs none of that, and restoring it is never right. It cannot be
    # pickled either: the coordinator holds an open database and, by its listener, standard output.
    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class _Scheduler(FIFOScheduler):
    """Passes each epoch to the coordinator and stops the runs it turns down."""

    def __init__(self, searcher: _Searcher) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if "epoch" not in result:
            return TrialScheduler.CONTINUE
        record = EpochRecord.from_dict(json.loads(result["epoch"]))
        go = self.searcher.coordinator.on_epoch(self.searcher.runs[trial.trial_id], record)
        return TrialScheduler.CONTINUE if go else TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        # The searcher hears of an error without being told which; the scheduler is asked first and can look.
        lines = str(trial.get_error() or "").strip().splitlines()
        said = [line for line in lines if "Error" in line or "died" in line]
        if said:
            self.searcher.errors[trial.trial_id] = said[-1].strip()[:300]


def run_ray(coordinator: Coordinator) -> None:
    """Executes the coordinator's jobs on Ray until it is done.

    A running cluster named by RAY_ADDRESS is used; its workers must see the results folder under the same path.

    Raises:
        InputError: the cluster can never give a trial what it asks for.
    """
    plan = coordinator.plan
    workers = max(1, plan.workers)
    with _own_sigterm():
        _start(workers, plan.threads, plan.gpus)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    resources = {"cpu": plan.threads, "gpu": plan.gpus}
    searcher = _Searcher(coordinator)
    try:
        _check(resources)
        for _ in range(TUNER_TRIES):
            with tempfile.TemporaryDirectory(prefix="sugar-search-ray-") as scratch:
                error = _fit(searcher, resources, workers, scratch)
            if coordinator.done:
                break
            searcher.abandon()
        else:
            raise SugarError(f"Ray Tune stopped {TUNER_TRIES} times ({error}); nothing is lost, rerun to go on")
    finally:
        ray.shutdown()


def _fit(searcher: _Searcher, resources: dict[str, float], workers: int, scratch: str) -> str | None:
    """One Tuner, from the study as it stands until the coordinator is done or Tune gives up; returns why it did."""
    tuner = tune.Tuner(
        tune.with_resources(_Actor, resources),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=_Scheduler(searcher),
            num_samples=-1,
            max_concurrent_trials=workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=scratch,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=0),
            # Runs keep their own checkpoints; Tune's would be pickles that nobody reads.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    except (ray.exceptions.RayError, tune.TuneError) as error:
        reason = str(error).strip().splitlines()[-1][:300]
        logger.warning("Ray Tune stopped (%s); going on from the study", reason)
        return reason
    return None


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keeps the sitting's handler: `ray.init` installs one that ends with another exit code and saves nothing."""
    ours = signal.getsignal(signal.SIGTERM)
    stopped = False
    try:
        yield
    except SystemExit:  # what Ray's handlers make of SIGTERM
        stopped = True
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ours)
    if stopped:
        signal.raise_signal(signal.SIGTERM)


def _start(workers: int, threads: int, gpus: float) -> None:
    """Connects to the cluster, or starts one on this machine with just the workers asked for."""
    # Threads are part of a run's result, so they are the same in every engine.
    environment = {"env_vars": {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}}
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    if address := os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(runtime_env=environment, log_to_driver=False, logging_level="ERROR")
        except ConnectionError as error:
            raise InputError("RAY_ADDRESS must name a running Ray cluster", address, "start it, or unset it") from error
        return
    ray.init(
        address="local",
        num_cpus=workers * threads,
        num_gpus=None if gpus > 0 else 0,
        object_store_memory=OBJECT_STORE_BYTES,
        runtime_env=environment,
        **quiet,
    )


def _check(resources: dict[str, float]) -> None:
    """Ray waits in silence for resources that will never come; refuse them instead."""
    have = ray.cluster_resources()
    for ours, theirs in (("cpu", "CPU"), ("gpu", "GPU")):
        if resources[ours] > have.get(theirs, 0.0):
            rule = f"a trial must fit the Ray cluster, which has {have.get(theirs, 0.0):g} {theirs}"
            raise InputError(
                rule, f"{resources[ours]:g} {theirs}", "ask for less with --threads-per-trial or --gpus-per-trial"
            )
