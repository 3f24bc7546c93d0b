"""The command line as a user types it: exit codes, one-line errors, and what is printed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import makers
import pandas as pd
import pytest

from sugar_search import __version__, catalog

RUN = [sys.executable, "-c", "from sugar_search.cli import main; main()"]


def sugar(*words, cwd=None):
    return subprocess.run([*RUN, *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=120)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A small finished study: its results folder's parent, and what was printed."""
    out = tmp_path_factory.mktemp("results")
    done = sugar(
        *"--arch mlp --dataset digits --space families --epochs 1 --trials 2 --confirm 2 --workers 1".split(),
        "--study",
        "small",
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.mark.parametrize("words", [["--help"], ["list", "--help"], ["show", "--help"], ["export", "--help"], []])
def test_help(words):
    done = sugar(*words)
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nsys.argv = ['sugar-search', '--help']\nfrom sugar_search.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'torch', 'sympy', 'optuna', 'ray', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = re.search(r"HEAVY \[(.*)\]", done.stdout)[1]
    assert not {"torch", "sympy", "optuna", "ray"} & set(re.findall(r"\w+", heavy)), heavy


def test_version():
    assert sugar("--version").stdout.strip() == f"sugar-search {__version__}"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("surrogates", ["bsilu", "nelu", "relu", "straight_through"]),
        ("spaces", ["families", "grammar", "mixed"]),
        ("archs", ["mlp", "narrow_mlp", "resnet18"]),
        ("datasets", ["digits", "regression"]),
        ("recipes", ["digits", "paper-b"]),
    ],
)
def test_list(kind, names):
    lines = sugar("list", kind).stdout.splitlines()
    listed = {line.split()[0]: line for line in lines}
    assert set(names) <= set(listed)
    # Every part says what it is.
    assert all(len(line.split()) > 3 for line in lines)


SEARCH = ["--arch", "mlp", "--dataset", "digits", "--epochs", "1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arch", "resnet19", "--dataset", "digits"], "did you mean resnet18"),
        (["--arch", "mlp", "--dataset", "cifar"], "dataset must be a known name"),
        (["--arch", "mlp"], "--dataset"),
        ([*SEARCH, "--trials", "-1"], "--trials must be 0 to 1000000000, got -1"),
        ([*SEARCH, "--trials", "many"], "got 'many'"),
        ([*SEARCH, "--time-budget", "soon"], "write it as 90s, 7m or 1h30m"),
        ([*SEARCH, "--storage", "nonsense://x"], "--storage must be a storage"),
        ([*SEARCH, "--space", "famlies"], "did you mean families"),
        ([*SEARCH, "--wrong"], "--wrong"),
        ([*SEARCH, "--recipe", "nope.toml"], "nope.toml"),
        (["--trials", "3", "list", "spaces"], "--trials"),
        (["--json", "show", "bsilu"], "--json"),
        (["frobnicate"], "frobnicate"),
        (["list", "space"], "did you mean spaces"),
        (["show", "bsiluu"], "bsilu"),
        (["show", "bsilu(alpha=nan)"], "alpha"),
        (["show", "bsilu(alpha=-3)"], "alpha"),
        (["show", "sigmoid(y)"], "y"),
        (["show", "-x*exp(-x)"], "bounded"),
        (["show", "1/x"], "x = 0"),
        (["show", "__import__('os').system('touch hacked')"], "column 1"),
        (["show", "9**9**9"], "exponent"),
        (["show", "(" * 5000], "characters"),
        (["show", "nostudy#3"], "STUDY"),
        (["show", "nostudy#" + "9" * 5000], "column"),
        (["export", "nostudy"], "STUDY must be a results folder"),
        (["export", "n" * 300], "STUDY must be a results folder"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_writes_nothing(tmp_path, words, said):
    done = sugar(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert said in lines[0]
    assert not list(tmp_path.iterdir())


def test_an_unwritable_results_folder(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = sugar(*SEARCH, "--out", tmp_path / "file")
    assert done.returncode == 2
    assert "results folder must be writable" in done.stderr


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("bsilu", ["B-SiLU(α=1.67)", "0.9175", "1.29", "activation", "LaTeX"]),
        ("nelu(alpha=0.05)", ["NeLU(α=0.05)", "minimum       -0.03247"]),
        ("sigmoid(x) + (x + 1.67)*sigmoid(x)*(1 - sigmoid(x))", ["nearest known B-SiLU(α=1.67) (the same function)"]),
        ("-exp(-x**2)", ["minimum       -1 at x = 0"]),
        ("Swish", ["SiLU"]),
    ],
)
def test_show(formula, words):
    done = sugar("show", formula)
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout


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


def test_export_and_show_read_a_study_by_name_and_by_path(study, tmp_path):
    out, _ = study
    target = tmp_path / "mine.py"
    done = sugar("export", "small", "--out", out, "-o", target)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == target
    assert "small" in target.read_text()
    assert sugar("export", out / "small", "-o", target).returncode == 0
    shown = sugar("show", "small#1", "--out", out)
    assert "B-SiLU(α=1.67)" in shown.stdout
    assert "trials 0 to" in sugar("show", "small#999", "--out", out).stderr


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


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_an_output_without_greek_letters_is_no_error(environment):
    done = subprocess.run([*RUN, "show", "bsilu"], capture_output=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    assert b"B-SiLU(" in done.stdout


def test_whoever_reads_the_output_may_leave(tmp_path):
    words = [*SEARCH, "--space", "families", "--trials", "1", "--confirm", "0", "--workers", "0", "--study", "small"]
    process = subprocess.Popen([*RUN, *words, "--out", tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=120)
    assert b"Traceback" not in process.stderr.read()
    assert (tmp_path / "small" / "best_surrogate.py").exists()


def test_a_password_in_a_storage_url_is_never_written_or_shown(tmp_path):
    done = sugar(*SEARCH, "--storage", "postgresql://someone:secret@127.0.0.1:1/x", "--out", tmp_path)
    assert done.returncode == 2
    assert "secret" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_study_in_which_everything_fails_says_so(tmp_path):
    path = tmp_path / "wild.toml"
    text = catalog.find("recipes")["digits"].read_text()
    path.write_text(re.sub(r"(?m)^lr = .*$", "lr = 1e30", text))
    words = [*SEARCH, "--recipe", path, "--trials", "0", "--workers", "0", "--out", tmp_path / "results"]
    done = sugar(*words)
    assert done.returncode == 1
    assert "every trial failed; the first: diverged in epoch 1" in done.stderr


def test_list_studies(study):
    out, _ = study
    printed = sugar("list", "studies", "--out", out).stdout
    assert printed.startswith("small")
    assert "best:" in printed


def test_json_is_one_object_per_line(study):
    out, _ = study
    words = "--arch mlp --dataset digits --space families --epochs 1 --trials 3 --confirm 2 --workers 1 --json".split()
    done = sugar(*words, "--study", "small", "--out", out)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "study"
    assert events[0]["resumed"] is True
    assert events[-1]["event"] == "done"
    assert events[-1]["leaderboard"][0]["rank"] == 1
    assert sum(e["event"] == "run" and e["kind"] == "proposal" for e in events) == 1


def test_another_study_under_the_same_name_is_refused(study):
    out, _ = study
    done = sugar(*SEARCH, "--space", "families", "--seed", "9", "--study", "small", "--out", out, "--workers", "1")
    assert done.returncode == 2
    assert "seed: 0 -> 9" in done.stderr


def test_options_of_the_search(tmp_path):
    """Every option that the other tests leave out."""
    words = "--arch mlp --dataset digits/8 --space families --recipe digits --epochs 1 --trials 1 --seed 4".split()
    words += "--repeats 2 --sampler random --objective accuracy,sparsity --engine local --workers 0".split()
    words += "--threads-per-trial 2 --gpus-per-trial 0 --study odd --no-baselines".split()
    words += ["--storage", f"sqlite:///{tmp_path}/elsewhere.db"]
    done = sugar(*words, "--confirm", "1", "--time-budget", "5m", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "odd" / "study.db").exists()
    assert json.loads((tmp_path / "odd" / "run.json").read_text())["identity"]["threads per trial"] == 2
    again = sugar("export", "odd", "--out", tmp_path, "--storage", f"sqlite:///{tmp_path}/elsewhere.db")
    assert again.returncode == 0, again.stderr


def test_recipes_are_shown_with_every_value_and_what_it_means():
    done = sugar("list", "recipes", "--verbose")
    assert done.returncode == 0
    heads = done.stdout.splitlines()[1].split()
    assert heads == ["key", *catalog.names("recipes"), "meaning"]
    rows = {found[1]: line for line in done.stdout.splitlines()[3:] if (found := re.match(r" {1,2}(\S+)", line))}
    assert "300" in rows["epochs"] and "passes over the training samples" in rows["epochs"]
    assert "rand-m9-mstd0.5-inc1" in done.stdout and "per step" in rows["optimizer.lr"]
    assert "0.1" in rows["validation.share"] and "0.05" in rows["validation.share"]
    refused = sugar("list", "archs", "--verbose")
    assert refused.returncode == 2 and "--verbose belongs to list recipes" in refused.stderr


def test_json_stays_json_whatever_the_users_module_prints_and_options_of_real_data_work(tmp_path):
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
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"study", "note", "run", "done"} <= {event["event"] for event in events}
    assert any("GELU" in event["text"] for event in events if event["event"] == "note")  # its forward becomes ReLU
    identity = events[0]["identity"]
    assert identity["sites"] == "gelu" and identity["compile"] is True and len(identity["data"]) == 8
    assert "building" in done.stderr


def test_damaged_data_is_one_line_though_there_was_more_to_say(tmp_path):
    makers.make_cifar10(tmp_path, archive=True)
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:20000])
    done = sugar("--arch", "vgg16", "--dataset", "cifar10", "--data-dir", tmp_path, "--out", tmp_path / "results")
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "must be a whole .tar.gz archive" in done.stderr
    assert not (tmp_path / "results").exists()
