"""The files of a results folder, written from the study: trials.csv, runs.csv, run.json, best_surrogate.py."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from sugar_search.activation.export import export
from sugar_search.errors import InputError
from sugar_search.report.leaderboard import frame
from sugar_search.report.likeness import Likeness, likeness
from sugar_search.search.records import RunRecord, TrialRecord
from sugar_search.search.store import without_password
from sugar_search.search.view import StudyView
from sugar_search.training.checkpoint import write_atomically

__all__ = ["export_best", "runs_frame", "trials_frame", "write_folder", "write_run_json"]

PACKAGES = ("sugar-search", "torch", "optuna", "ray", "sympy", "numpy", "pandas")


def trials_frame(study: StudyView) -> pd.DataFrame:
    """One row per trial; `formula` is the derivative's text at full precision; gain and closest as in `likeness`."""
    likes = likeness([trial.surrogate for trial in study.trials])
    return pd.DataFrame([_trial_row(study, trial, like) for trial, like in zip(study.trials, likes)])


def _trial_row(study: StudyView, trial: TrialRecord, like: Likeness) -> dict[str, Any]:
    names = [o.name for o in study.objectives]
    values = dict(zip(names, trial.values or [None] * len(names), strict=True))
    return {
        "trial": trial.number,
        "kind": trial.kind,
        "state": trial.state,
        "surrogate": trial.title,
        "formula": trial.surrogate.text,
        "surrogate_id": trial.surrogate.id,
        "region": trial.surrogate.region,
        "sugar": trial.sugar,
        "gain": like.gain,
        "closest": like.closest,
        "distance": like.distance,
        **values,
        "seeds": " ".join(map(str, trial.seeds)),
        "runs": len(trial.runs),
        "reason": trial.reason,
    }


def runs_frame(study: StudyView) -> pd.DataFrame:
    """One row per run that ended, lost ones included; test metrics where the test set was read."""
    rows = [
        _run_row(study, t, r) for t in study.trials for r in [*t.deaths, *(t.runs[s] for s in t.seeds if s in t.runs)]
    ]
    return pd.DataFrame(rows)


def _run_row(study: StudyView, trial: TrialRecord, run: RunRecord) -> dict[str, Any]:
    names = [o.name for o in study.objectives]
    test = study.test.get(run.run, {}) if run.state == "complete" else {}
    return {
        "run": run.run,
        "trial": trial.number,
        "kind": trial.kind,
        "surrogate": trial.title,
        "seed": run.seed,
        "state": run.state,
        "epochs": run.epochs,
        **{f"objective_{n}": v for n, v in zip(names, run.values or [None] * len(names), strict=True)},
        **{f"validation_{k}": v for k, v in run.metrics.items() if k not in ("train_loss", "lr")},
        "train_loss": run.metrics.get("train_loss"),
        **{f"test_{k}": v for k, v in test.items()},
        "seconds": run.seconds,
        "seconds_per_epoch": run.seconds_per_epoch,
        "images_per_second": run.images_per_second,
        "peak_memory_mb": None if run.peak_memory is None else run.peak_memory / 1e6,
        "reason": run.reason,
    }


def export_best(study: StudyView, path: Path) -> Path:
    """Writes the study's best surrogate as a stand-alone module.

    Raises:
        InputError: no trial has completed.
        FileError: the path cannot be written.
    """
    if (best := study.best) is None:
        raise InputError("a study must have a complete trial to export", study.name, "let it run longer")
    row = next(r for r in frame(study).to_dict("records") if r["surrogate"] == best.title)
    shown = {k: v for k, v in row.items() if k not in ("rank", "surrogate", "state") and not pd.isna(v)}
    results = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in shown.items()}
    if study.verdict:
        results["verdict"] = study.verdict["text"]
    about = {"study": study.name, **study.identity, "exported": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}
    about["sugar-search"] = _version("sugar-search")
    return export(best, path, results=results, provenance=about)


def write_folder(study: StudyView) -> None:
    """Writes trials.csv, runs.csv and, once a trial is complete, best_surrogate.py."""
    write_atomically(study.folder / "trials.csv", trials_frame(study).to_csv(index=False).encode())
    write_atomically(study.folder / "runs.csv", runs_frame(study).to_csv(index=False).encode())
    if study.best is not None:
        export_best(study, study.folder / "best_surrogate.py")


def write_run_json(folder: Path, arguments: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Writes run.json: arguments of the latest sitting, identity, versions, machine, commit."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    content = {
        "arguments": {k: _plain(v) for k, v in arguments.items()},
        "identity": dict(identity),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "machine": {"platform": platform.platform(), "processor": _processor(), "cores": os.cpu_count(), "gpus": gpus},
        "commit": _commit(),
    }
    write_atomically(folder / "run.json", (json.dumps(content, indent=2) + "\n").encode())


def _plain(value: Any) -> Any:
    """An argument as JSON holds it, without a password in a storage URL."""
    text = str(value) if isinstance(value, Path) else value
    return without_password(text) if isinstance(text, str) and "://" in text else text


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
        )
    except OSError:
        return platform.processor()


def _commit() -> str | None:
    """The commit of the checkout this package runs from, with "+" when it has changes; None outside a checkout."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
