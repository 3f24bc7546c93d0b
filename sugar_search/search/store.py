"""A study in Optuna's storage: opened, locked, identified, read and written. The one truth about a study.

The coordinator is the only writer. A run is written on its trial as an attribute the moment it ends.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from sugar_search.errors import FileError, StudyError
from sugar_search.search.records import RunRecord, TrialRecord
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["Store", "differences", "hold", "is_new", "sqlite_url", "storage_errors", "without_password"]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def sqlite_url(folder: Path) -> str:
    """The default storage of a study's folder.

    Raises:
        FileError: the path holds a character that means something else in a URL.
    """
    path = str(folder.resolve() / "study.db")
    if odd := sorted(set(path) & set("?#%{}")):
        raise FileError(f"the results folder's path must not hold {' '.join(odd)}", path, "choose another --out")
    return f"sqlite:///{path}"


def without_password(url: str) -> str:
    """A storage URL fit to be shown and written."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (SQLAlchemyError, ValueError):
        return url.partition("://")[0] + "://..." if "://" in url else url


def is_new(url: str) -> bool:
    """Whether a storage is an SQLite file that does not exist yet: to open it would make it."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        return False  # opening it says what is wrong
    return parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file()


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns what can happen to a storage (full disk, lost server, damaged file) into one clear error.

    Raises:
        FileError: the storage cannot be read or written.
    """
    try:
        yield
    except (OptunaError, SQLAlchemyError, json.JSONDecodeError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        rule = f"the study's storage must be readable and writable ({reason})"
        raise FileError(rule, without_password(url), "free the disk or mend the file, then run again") from error


def hold(folder: Path) -> FileLock:
    """Takes the study's lock, which the system frees when this process dies however it dies.

    Raises:
        StudyError: another process holds it; the message names the process.
        FileError: the folder cannot be written.
    """
    lock = FileLock(folder / "study.lock")
    holder = folder / "study.holder"
    try:
        lock.acquire(timeout=0)
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    except Timeout:
        who = holder.read_text(encoding="utf-8").strip() if holder.is_file() else "another process"
        raise StudyError("a study must have one coordinator", who, "wait until it ends, or stop it") from None
    except OSError as error:
        lock.release()
        raise FileError("the results folder must be writable", str(error), "choose another --out") from error
    return lock


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What differs between two identities, as "key: theirs -> ours" items."""
    keys = [k for k in dict.fromkeys([*theirs, *ours]) if ours.get(k) != theirs.get(k)]
    return ", ".join(f"{k}: {theirs.get(k)} -> {ours.get(k)}" for k in keys)


class Store:
    """One study in a storage.

    Args:
        url: an Optuna RDB storage URL.
        name: the study's name.

    Raises:
        FileError: the storage cannot be opened, or would be lost at the end.
    """

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        shown = without_password(url)
        try:
            sqlite = make_url(url).get_backend_name() == "sqlite"
            if sqlite and make_url(url).database in (None, "", ":memory:"):
                raise ValueError("a study in memory would be lost at the end")
            # The timeout lets a reader (a report, a dashboard) overlap with a write.
            connect = {"connect_args": {"timeout": 60}} if sqlite else {}
            self.storage = optuna.storages.RDBStorage(url, engine_kwargs=connect)
        except (SQLAlchemyError, OptunaError, ImportError, ValueError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0].replace(url, shown)
            rule = f"--storage must be a storage that can be opened ({reason})"
            raise FileError(rule, shown, "check the URL") from error
        self._ids: dict[int, int] = {}

    def create(self, identity: Mapping[str, Any], directions: Sequence[str], home: str) -> bool:
        """Opens the study, made when missing; True when it existed.

        Args:
            identity: what identifies the study.
            directions: Optuna directions, one per objective.
            home: the results folder, resolved. The folder's lock guards the study, so another folder may not have it.

        Raises:
            StudyError: it exists with another identity (the difference is shown), belongs to another folder, or was
                made by another program.
        """
        existing = self.check(identity, home)
        self.study = optuna.create_study(
            storage=self.storage, study_name=self.name, directions=list(directions), load_if_exists=True
        )
        if not existing:
            # A study without an identity and without trials was left by a process that died just here.
            if self.frozen():
                raise StudyError("a study must be one of sugar-search's", self.name, "give another --study name")
            self.set("home", home)
            self.set("identity", dict(identity))
        return bool(existing)

    def check(self, identity: Mapping[str, Any], home: str) -> bool:
        """Whether the study exists; writes nothing.

        Raises:
            StudyError: it exists with another identity, or belongs to another folder.
        """
        existing = self.identity()
        if existing and (changed := differences(identity, existing)):
            rule = f"a study keeps what identifies it ({changed})"
            raise StudyError(rule, self.name, "give another --study name, or the same options as before")
        # A study in the folder's own storage moves with the folder.
        own = self.url == f"sqlite:///{home}/study.db"
        if existing and not own and self.get("home") != home:
            raise StudyError(f"a study belongs to one results folder ({self.get('home')})", home, "give that --out")
        return bool(existing)

    def identity(self) -> dict[str, Any] | None:
        """The stored identity, empty before it is written; None when the study does not exist."""
        try:
            self.study = optuna.load_study(study_name=self.name, storage=self.storage)
        except KeyError:
            return None
        return dict(self.study.user_attrs.get("identity", {}))

    def names(self) -> list[str]:
        """The names of all studies in the storage."""
        return list(optuna.get_all_study_names(self.storage))

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute of the study."""
        return self.study.user_attrs.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Sets an attribute of the study (JSON types)."""
        self.study.set_user_attr(key, value)

    # Trials

    def frozen(self) -> list[FrozenTrial]:
        """All trials as Optuna holds them."""
        trials = self.study.get_trials(deepcopy=False)
        self._ids = {t.number: t._trial_id for t in trials}
        return trials

    def trials(self) -> list[TrialRecord]:
        """All trials as plain records.

        Raises:
            StudyError: a trial is not one of ours (the study was made by another program).
        """
        return [_record(trial, self.name) for trial in self.frozen()]

    def add(
        self,
        kind: str,
        surrogate: Surrogate,
        seeds: Sequence[int],
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        *,
        sugar: bool = True,
    ) -> TrialRecord:
        """Adds a WAITING trial in one transaction."""
        attributes = {
            "kind": kind,
            "surrogate": surrogate.to_dict(),
            "formula": surrogate.text,
            "canonical": surrogate.canonical,
            "seeds": list(seeds),
            "sugar": sugar,
        }
        self.study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=dict(params),
                distributions=dict(distributions),
                user_attrs=attributes,
            )
        )
        # The coordinator is the only writer, so the last trial is the one just added.
        return _record(self.frozen()[-1], self.name)

    def mark(self, trial: TrialRecord, state: str) -> None:
        """Moves an open trial between WAITING and RUNNING."""
        self.storage.set_trial_state_values(self._ids[trial.number], TrialState[state])
        trial.state = state

    def add_run(self, trial: TrialRecord, run: RunRecord) -> None:
        """Writes an ended run on its trial; a died one is kept beside the run that replaces it."""
        if run.state == "died":
            trial.deaths.append(run)
            key = f"death.{len(trial.deaths)}"
        else:
            trial.runs[run.seed] = run
            key = f"run.{run.seed}"
        self.storage.set_trial_user_attr(self._ids[trial.number], key, run.to_dict())

    def finish(
        self, trial: TrialRecord, state: str, values: Sequence[float] = (), reason: str | None = None
    ) -> FrozenTrial:
        """Ends a RUNNING trial as COMPLETE (with values), PRUNED or FAIL, with a reason where one is due."""
        trial_id = self._ids[trial.number]
        if reason:
            self.storage.set_trial_user_attr(trial_id, "reason", reason)
        if state == "PRUNED" and len(self.study.directions) == 1:
            # The curve of the run that was stopped: what TPE learns from a pruned trial.
            for epoch, score in enumerate(next(r for r in trial.runs.values() if r.state == "stopped").scores, 1):
                self.storage.set_trial_intermediate_value(trial_id, epoch, score)
        self.storage.set_trial_state_values(trial_id, TrialState[state], list(values) or None)
        trial.state, trial.values, trial.reason = state, tuple(values), reason
        return self.storage.get_trial(trial_id)


def _record(trial: FrozenTrial, study: str) -> TrialRecord:
    attributes = trial.user_attrs
    try:
        runs = [RunRecord.from_dict(v) for k, v in attributes.items() if k.startswith("run.")]
        deaths = [RunRecord.from_dict(attributes[k]) for k in sorted(attributes) if k.startswith("death.")]
        return TrialRecord(
            number=trial.number,
            kind=attributes["kind"],
            state=trial.state.name,
            surrogate=Surrogate.from_dict(attributes["surrogate"]),
            seeds=tuple(attributes["seeds"]),
            runs={run.seed: run for run in runs},
            deaths=deaths,
            values=tuple(trial.values or ()),
            reason=attributes.get("reason"),
            sugar=attributes.get("sugar", True),
        )
    except (KeyError, TypeError, ValueError) as error:
        rule = f"trial {trial.number} must hold what sugar-search writes"
        raise StudyError(
            rule, json.dumps(sorted(attributes))[:60], f"study {study} was made by another program"
        ) from error
