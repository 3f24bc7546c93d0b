"""The checks before a sitting: everything that can be known before work starts."""

import os
import shutil
from pathlib import Path

from sugar_search.errors import FileError, InputError, UnknownNameError
from sugar_search.search.plan import ENGINES, Plan
from sugar_search.search.sampler import SAMPLERS

__all__ = ["MAX_REPEATS", "preflight"]

MAX_REPEATS = 1000


def preflight(plan: Plan) -> None:
    """Checks all that can be known before work starts; writes nothing.

    Raises:
        InputError: a number out of range, an architecture that cannot take the dataset, an objective that the dataset
            does not define, a folder that cannot be written, too little disk.
    """
    if plan.engine not in ENGINES:
        raise InputError("--engine must be local or ray", plan.engine, "choose one")
    if plan.sampler not in SAMPLERS:
        raise UnknownNameError.of("--sampler", plan.sampler, SAMPLERS)
    for name, value, least, most in (
        ("--trials", plan.trials, 0, 10**9),
        ("--repeats", plan.repeats, 1, MAX_REPEATS),
        ("--confirm", plan.confirm, 0, MAX_REPEATS),
        ("--workers", plan.workers, 0 if plan.engine == "local" else 1, 1024),
        ("--threads-per-trial", plan.threads, 1, 1024),
        ("--gpus-per-trial", plan.gpus, 0, 1024),
        ("--seed", plan.seed, 0, 2**63 - 1),
    ):
        # NaN compares false with everything, so the test is written to refuse it.
        if value is not None and not least <= value <= most:
            raise InputError(f"{name} must be {least} to {most}", value, "give a number in that range")
    if not plan.baselines and plan.trials == 0:
        raise InputError("a study must have something to train", "--trials 0 without baselines", "drop --no-baselines")
    _check_gpus(plan)
    parameters = _check_network(plan)
    _check_folder(plan.folder, parameters, plan.workers)


def _check_gpus(plan: Plan) -> None:
    import torch

    have = torch.cuda.device_count()
    need = max(1, plan.workers) * plan.gpus
    if plan.engine == "local" and need > have:
        rule = f"--workers x --gpus-per-trial must fit this machine's {have} GPUs"
        raise InputError(rule, f"{plan.workers} x {plan.gpus:g}", "ask for less, or 0 for the CPU")


def _check_network(plan: Plan) -> int:
    """Builds the network once and passes two samples through it; returns its parameter count."""
    import torch

    from sugar_search.activation.convert import convert
    from sugar_search.data._dataset import load_dataset
    from sugar_search.models._model import build_model

    dataset = load_dataset(plan.dataset)
    if dataset.task == "regression":
        for objective in plan.objectives:
            if objective.name == "accuracy":
                raise InputError("--objective accuracy needs class labels", plan.dataset, "use --objective loss")
        if plan.recipe.selection.metric == "accuracy":
            rule = "a recipe that selects by accuracy needs class labels"
            raise InputError(rule, plan.dataset, "choose a recipe that selects by loss")
    model = build_model(plan.arch, dataset.input_shape, dataset.outputs)
    convert(model, "relu")
    with torch.no_grad():
        model.eval()(dataset.train.inputs[:2])
    return sum(p.numel() for p in model.parameters())


def _check_folder(folder: Path, parameters: int, workers: int) -> None:
    existing = folder
    try:
        while not existing.exists():
            existing = existing.parent
        writable = existing.is_dir() and os.access(existing, os.W_OK)
    except OSError as error:  # a name that is too long, a parent that may not be entered
        raise FileError("the results folder must be writable", str(folder), str(error.strerror)) from error
    if not writable:
        raise FileError("the results folder must be writable", str(folder), "choose another --out")
    # Weights, momentum and their copy while written, for each worker; weights of the finalists' runs.
    need = 4 * parameters * (6 * max(1, workers) + 24) + 50 * 2**20
    free = shutil.disk_usage(existing).free
    if free < need:
        rule = f"the disk of the results folder must have {need / 2**20:.0f} MiB free"
        raise FileError(rule, f"{free / 2**20:.0f} MiB", "free some space or choose another --out")
