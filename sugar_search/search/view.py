"""A study as it stands, read from its storage: what reports, export and the command line look at."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sugar_search.errors import FileError, StudyError
from sugar_search.search.objective import Objective, read_objectives
from sugar_search.search.records import Candidate, TrialRecord, candidates
from sugar_search.search.store import Store, sqlite_url, storage_errors
from sugar_search.symbolic.surrogate import Surrogate

__all__ = ["StudyView", "read_study", "view"]


@dataclass(frozen=True)
class StudyView:
    """A study as it stands, for reports and export.

    Attributes:
        name, folder, identity: which study.
        objectives: what it optimises; the first ranks.
        trials: all trials.
        test: test metrics of finalists by run id.
        verdict: `finals.Verdict` as a dictionary, or None before the finals.
        refused: draws that were not proposed, by reason.
    """

    name: str
    folder: Path
    identity: dict[str, Any]
    objectives: tuple[Objective, ...]
    trials: tuple[TrialRecord, ...]
    test: dict[str, dict[str, float | None]]
    verdict: dict[str, Any] | None
    refused: dict[str, int]

    @property
    def candidates(self) -> list[Candidate]:
        """Surrogates with everything known of each."""
        return candidates(self.trials)

    @property
    def best(self) -> Surrogate | None:
        """What is exported: the verdict's winner, else the best complete trial; None before any completed."""
        first = self.objectives[0]
        if self.verdict:
            for candidate in self.candidates:
                if candidate.sugar and candidate.surrogate.canonical == self.verdict["canonical"]:
                    return candidate.surrogate
        done = [c for c in self.candidates if c.sugar and c.state == "COMPLETE" and c.score() is not None]
        pick = max if first.maximise else min
        return pick(done, key=lambda c: c.score() or 0.0).surrogate if done else None


def view(store: Store, folder: Path) -> StudyView:
    """The study in an open store.

    Raises:
        StudyError: the study was made by another program.
    """
    identity = store.identity() or {}
    if "objective" not in identity:
        raise StudyError("a study must be one of sugar-search's", store.name, "choose another")
    return StudyView(
        name=store.name,
        folder=folder,
        identity=identity,
        objectives=read_objectives(str(identity["objective"])),
        trials=tuple(store.trials()),
        test=dict(store.get("test", {})),
        verdict=store.get("verdict"),
        refused=dict(store.get("refused", {})),
    )


def read_study(study: str, out: Path, url: str | None = None) -> StudyView:
    """A study by name under `out` or by path, without holding it.

    Args:
        study: a name under `out`, or a results folder.
        out: the folder that holds results folders.
        url: the storage, when it is not in the results folder.

    Raises:
        FileError: there is no such study, or its storage cannot be read.
        StudyError: it was made by another program.
    """
    try:
        folder = _find(study, out)
        if url is None and not (folder / "study.db").is_file():
            raise FileNotFoundError
    except (OSError, ValueError) as error:  # a name that is too long, a folder that may not be entered, a null byte
        rule = "STUDY must be a results folder or a name under --out"
        raise FileError(rule, study, "see: sugar-search list studies") from error
    with storage_errors(url or str(folder / "study.db")):
        store = Store(url or sqlite_url(folder), folder.resolve().name)
        # A folder that was renamed or copied still holds its one study.
        if url is None and len(names := store.names()) == 1:
            store.name = names[0]
        if store.identity() is None:
            raise FileError("the storage must hold the study", store.name, "check the path and --storage")
        return view(store, folder)


def _find(study: str, out: Path) -> Path:
    """A plain name means the folder under `out`, unless only the path of that name is there."""
    path, named = Path(study), out / study
    plain = path.name == study and ((named / "study.db").is_file() or not path.is_dir())
    return named if plain else path
