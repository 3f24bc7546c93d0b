"""The storage of a study: whose it is, and what is wrong with it in one line."""

import os
import subprocess
import sys
from dataclasses import replace

import optuna
import pytest
from sqlalchemy.exc import SQLAlchemyError
from studies import results

from sugar_search.errors import FileError, StudyError
from sugar_search.search import sitting
from sugar_search.search import store as stores
from sugar_search.search.room import make_folder
from sugar_search.search.sitting import run_sitting
from sugar_search.search.view import read_study


def test_another_identity_is_refused_with_the_difference(sit):
    sit(trials=0)
    changes = [
        ({"epochs": 3}, "recipe"),
        ({"seed": 3}, "seed: 0 -> 3"),
        ({"space": "mixed"}, "space"),
        ({"threads": 2}, "threads"),
    ]
    changes += [
        ({"arch": "resnet18"}, "arch: mlp -> resnet18"),
        ({"objective": "accuracy"}, "objective: loss -> accuracy"),
    ]
    for change, words in changes:
        with pytest.raises(StudyError, match=words):
            sit(trials=0, **change)


def test_a_second_coordinator_names_the_holder(plan):
    chosen = plan()
    chosen.folder.mkdir(parents=True)
    lock = stores.hold(chosen.folder)
    try:
        code = (
            "import sys; from pathlib import Path\nfrom sugar_search.search.store import hold\n"
            "try:\n    hold(Path(sys.argv[1]))\nexcept Exception as error:\n    print(error)\n"
        )
        said = subprocess.run(
            [sys.executable, "-c", code, str(chosen.folder)], capture_output=True, text=True, check=True
        ).stdout
        assert f"process {os.getpid()}" in said
        assert "one coordinator" in said
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////nowhere/at/all/study.db", "unable to open database file"),
        ("nonsense", "--storage must be a storage"),
        ("", "--storage must be a storage"),
        ("sqlite://", "would be lost at the end"),
        ("mysql+pymysql://someone:secret@localhost/x", "--storage must be a storage"),
    ],
)
def test_a_storage_that_cannot_be_opened_leaves_nothing_behind(plan, tmp_path, url, words):
    chosen = replace(plan(), url=url)
    with pytest.raises(FileError, match=words) as caught:
        run_sitting(chosen, lambda event: None)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_sitting_that_never_began_leaves_the_others_alone(plan, tmp_path):
    good, bad = plan(study="good"), replace(plan(study="bad"), url="nonsense")
    made = make_folder(bad.folder)  # both found no results folder
    assert good.folder.parent in made
    good.folder.mkdir()
    (good.folder / "study.db").write_text("precious")
    sitting._unmake(made)
    assert [p.name for p in good.folder.parent.iterdir()] == ["good"]


def test_a_storage_of_its_own_belongs_to_one_results_folder(plan, tmp_path):
    url = f"sqlite:///{tmp_path}/shared.db"
    run_sitting(replace(plan(trials=0), url=url), lambda event: None)
    elsewhere = plan(trials=0, out=tmp_path / "elsewhere")
    with pytest.raises(StudyError, match="belongs to one results folder"):
        run_sitting(replace(elsewhere, url=url), lambda event: None)
    assert not elsewhere.folder.exists()


def test_a_study_that_was_killed_while_it_was_made_can_be_run(plan):
    chosen = plan(trials=0)
    chosen.folder.mkdir(parents=True)
    optuna.create_study(storage=chosen.url, study_name=chosen.name)  # and died before the identity was written
    assert run_sitting(chosen, lambda event: None).best is not None


def test_a_study_follows_its_folder(sit, tmp_path):
    study, _ = sit(trials=0)
    moved = study.folder.rename(study.folder.with_name("moved"))
    assert results(read_study("moved", moved.parent)) == results(study)
    link = tmp_path / "link"
    link.symlink_to(moved)
    assert results(read_study(str(link), tmp_path)) == results(study)


def test_a_storage_that_fails_later_is_one_clear_error(plan, monkeypatch):
    chosen = plan(trials=0)

    def full(self, *_):
        raise SQLAlchemyError("database or disk is full")

    monkeypatch.setattr(stores.Store, "add_run", full)
    with pytest.raises(FileError, match=r"readable and writable.*disk is full"):
        run_sitting(chosen, lambda event: None)
    monkeypatch.undo()
    assert len(results(run_sitting(chosen, lambda event: None))) == 11


def test_a_corrupt_database_is_named(plan):
    chosen = plan()
    chosen.folder.mkdir(parents=True)
    (chosen.folder / "study.db").write_bytes(b"not a database at all, " * 100)
    with pytest.raises(FileError, match="file is not a database"):
        run_sitting(chosen, lambda event: None)
    assert (chosen.folder / "study.db").exists()


def test_a_foreign_study_is_refused(plan):
    chosen = plan()
    chosen.folder.mkdir(parents=True)
    optuna.create_study(storage=chosen.url, study_name=chosen.name).optimize(lambda trial: 0.0, n_trials=1)
    with pytest.raises(StudyError, match="one of sugar-search's"):
        run_sitting(chosen, lambda event: None)
    with pytest.raises(StudyError, match="one of sugar-search's"):
        read_study(str(chosen.folder), chosen.folder)
