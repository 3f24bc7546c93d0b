"""The search as a user types it: what a study prints and leaves, its options, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import makers
import pandas as pd
import pytest

from sugar_search import catalog

SEARCH = ["--arch", "mlp", "--dataset", "digits", "--epochs", "1"]


@pytest.fixture(scope="module")
def study(sugar, tmp_path_factory):
    """A small finished study: its results folder's parent, and what was printed."""
    out = tmp_path_factory.mktemp("results")
    words = "--space families --trials 2 --confirm 2 --workers 0 --study small".split()
    done = sugar(*SEARCH, *words, "--out", out)
    assert done.code == 0, done.err
    return out, done.out


def test_an_unwritable_results_folder(sugar, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = sugar(*SEARCH, "--out", tmp_path / "file")
    assert done.code == 2
    assert "results folder must be writable" in done.err


def test_a_study_prints_a_leaderboard_with_the_spread_between_seeds_and_a_verdict(study):
    _, printed = study
    assert "Spread between seeds" in printed
    assert re.search(r"ReLU ±[\d.]+ \(3 seeds\)", printed)
    assert "2 fresh seeds" in printed
    assert "best_surrogate.py" in printed
    assert "\x1b" not in printed  # not a terminal: no colours, no cursor movement


def test_a_results_folder_holds_what_it_should(study):
    out, _ = study
    folder = out / "small"
    assert {p.name for p in folder.iterdir()} >= {"trials.csv", "runs.csv", "run.json", "study.db", "best_surrogate.py"}
    content = json.loads((folder / "run.json").read_text())
    assert content["arguments"]["arch"] == "mlp"
    assert content["versions"]["torch"]
    assert content["machine"]["cores"]
    assert content["identity"]["dataset"] == "digits"
    trials = pd.read_csv(folder / "trials.csv").query("kind == 'baseline'").set_index("surrogate")
    assert trials.loc["B-SiLU(α=1.67)", "gain"] == pytest.approx(1.699, abs=2e-3)
    assert trials.loc["B-SiLU(α=1.67)", "closest"] == "ReLU"
    assert "Certificate:\n    admission: proven" in (folder / "best_surrogate.py").read_text()


def test_the_best_surrogate_checks_itself(study):
    out, _ = study
    done = subprocess.run([sys.executable, out / "small" / "best_surrogate.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "self-check passed" in done.stdout


def test_export_and_show_read_a_study_by_name_and_by_path(sugar, study, tmp_path):
    out, _ = study
    target = tmp_path / "mine.py"
    done = sugar("export", "small", "--out", out, "-o", target)
    assert done.code == 0, done.err
    assert Path(done.out.strip()) == target
    assert "small" in target.read_text()
    assert sugar("export", out / "small", "-o", target).code == 0
    shown = sugar("show", "small#1", "--out", out)
    assert "B-SiLU(α=1.67)" in shown.out
    assert "trials 0 to" in sugar("show", "small#999", "--out", out).err


def test_the_leaderboard_has_a_heading_for_every_cell(study):
    """Compared with the file of runs, so that a column under the wrong heading is seen."""
    out, printed = study
    lines = [line for line in printed.splitlines() if line.startswith(("┃", "│"))]
    heads, *rows = [[cell.strip() for cell in re.split("[┃│]", line)[1:-1]] for line in lines]
    assert {len(row) for row in rows} == {len(heads)}
    relu = dict(zip(heads, next(row for row in rows if row[1] == "ReLU")))
    runs = pd.read_csv(out / "small" / "runs.csv")
    runs = runs[runs.surrogate == "ReLU"]
    assert int(relu["seeds"]) == len(runs) == 3
    assert relu["loss"].split()[0] == f"{runs[runs.seed == 1].objective_loss.mean():.4g}"
    assert relu["fresh"] == f"{runs[runs.seed != 1].objective_loss.mean():.4g}"
    assert relu["accuracy"] == f"{100 * runs.validation_accuracy.mean():.2f}%"
    assert relu["sparsity"] == f"{100 * runs.validation_sparsity.mean():.2f}%"
    assert relu["test"] == f"{100 * runs.test_accuracy.mean():.2f}% ± {100 * runs.test_accuracy.std():.2f}%"
    assert relu["images/s"] == f"{runs.images_per_second.mean():.0f}"
    assert relu["peak MB"] == f"{runs.peak_memory_mb.max():.0f}" and int(relu["peak MB"]) > 100
    assert relu["state"] == "complete"


def test_a_password_in_a_storage_url_is_never_written_or_shown(sugar, tmp_path):
    done = sugar(*SEARCH, "--storage", "postgresql://someone:secret@127.0.0.1:1/x", "--out", tmp_path)
    assert done.code == 2
    assert "secret" not in done.err
    assert not list(tmp_path.iterdir())


def test_a_study_in_which_everything_fails_says_so(sugar, tmp_path):
    path = tmp_path / "wild.toml"
    text = catalog.find("recipes")["digits"].read_text()
    path.write_text(re.sub(r"(?m)^lr = .*$", "lr = 1e30", text))
    words = [*SEARCH, "--recipe", path, "--trials", "0", "--workers", "0", "--out", tmp_path / "results"]
    done = sugar(*words)
    assert done.code == 1
    assert "every trial failed; the first: diverged in epoch 1" in done.err


def test_list_studies(sugar, study):
    out, _ = study
    printed = sugar("list", "studies", "--out", out).out
    assert printed.startswith("small")
    assert "best:" in printed


def test_json_is_one_object_per_line(sugar, study):
    out, _ = study
    words = "--space families --trials 3 --confirm 2 --workers 0 --study small --json".split()
    done = sugar(*SEARCH, *words, "--out", out)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[0]["event"] == "study"
    assert events[0]["resumed"] is True
    assert events[-1]["event"] == "done"
    assert events[-1]["leaderboard"][0]["rank"] == 1
    assert sum(e["event"] == "run" and e["kind"] == "proposal" for e in events) == 1


def test_another_study_under_the_same_name_is_refused(sugar, study):
    out, _ = study
    done = sugar(*SEARCH, "--space", "families", "--seed", "9", "--study", "small", "--out", out, "--workers", "0")
    assert done.code == 2
    assert "seed: 0 -> 9" in done.err


def test_options_of_the_search(sugar, tmp_path):
    """Every option that the other tests leave out."""
    words = "--arch mlp --dataset digits/8 --space families --recipe digits --epochs 1 --trials 1 --seed 4".split()
    words += "--repeats 2 --sampler random --objective accuracy,sparsity --engine local --workers 0".split()
    words += "--threads-per-trial 2 --gpus-per-trial 0 --study odd --no-baselines".split()
    words += ["--storage", f"sqlite:///{tmp_path}/elsewhere.db"]
    done = sugar(*words, "--confirm", "1", "--time-budget", "5m", "--out", tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "odd" / "study.db").exists()
    assert json.loads((tmp_path / "odd" / "run.json").read_text())["identity"]["threads per trial"] == 2
    again = sugar("export", "odd", "--out", tmp_path, "--storage", f"sqlite:///{tmp_path}/elsewhere.db")
    assert again.code == 0, again.err


def test_json_stays_json_whatever_the_users_module_prints_and_options_of_real_data_work(sugar, tmp_path):
    (tmp_path / "noisy.py").write_text(
        "from torch import nn\nprint('hello')\n\n"
        "def build(input_shape, outputs):\n    print('building')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 8), nn.GELU(), nn.Linear(8, outputs))\n"
    )
    makers.make_image_folder(tmp_path / "pictures", val=1)
    words = "--arch noisy:build --dataset image_folder --data-dir pictures --offline --sites gelu --recipe mine.toml"
    words += " --trials 1 --no-baselines --confirm 0 --workers 0 --loader-workers 1 --compile --study pictures --json"
    recipe = catalog.find("recipes")["own-data"].read_text().replace("epochs = 30", "epochs = 1")
    (tmp_path / "mine.toml").write_text(recipe + "[augment]\ncolor_jitter = 0.4\n")
    done = sugar(*words.split(), cwd=tmp_path)
    assert done.code == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    assert {"study", "note", "run", "done"} <= {event["event"] for event in events}
    assert any("GELU" in event["text"] for event in events if event["event"] == "note")  # its forward becomes ReLU
    identity = events[0]["identity"]
    assert identity["sites"] == "gelu" and identity["compile"] is True and len(identity["data"]) == 8
    assert "building" in done.err


def test_damaged_data_is_one_line_though_there_was_more_to_say(sugar, tmp_path):
    makers.make_cifar10(tmp_path, archive=True)
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:20000])
    done = sugar("--arch", "vgg16", "--dataset", "cifar10", "--data-dir", tmp_path, "--out", tmp_path / "results")
    assert done.code == 2 and done.out == ""
    assert len(done.err.splitlines()) == 1 and "must be a whole .tar.gz archive" in done.err
    assert not (tmp_path / "results").exists()
