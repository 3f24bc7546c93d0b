"""What the command line is to other processes: output that cannot be written, encodings, the folder it starts in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "from sugar_search.cli import main; main()"


def process(*words, **options):
    return subprocess.Popen([sys.executable, "-P", "-c", MAIN, *map(str, words)], text=True, **options)


def test_bad_input_is_exit_2_and_one_line():
    with process("list", "space", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (2, "")
    assert len(err.splitlines()) == 1 and "did you mean spaces" in err


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0"}, marks=pytest.mark.long)],
)
def test_an_output_without_greek_letters_is_no_error(environment):
    with process("show", "bsilu", env=os.environ | environment, stdout=subprocess.PIPE) as running:
        out = running.communicate(timeout=60)[0]
    assert running.returncode == 0
    assert "B-SiLU(" in out


def test_whoever_reads_the_output_may_leave(tmp_path):
    words = "--arch mlp --dataset digits --epochs 1 --space families --trials 1 --no-baselines --confirm 0 --workers 0"
    running = process(
        *words.split(), "--study", "small", "--out", tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    running.stdout.readline()
    running.stdout.close()
    running.wait(timeout=120)
    assert "Traceback" not in running.stderr.read()
    assert (tmp_path / "small" / "best_surrogate.py").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
@pytest.mark.parametrize("buffered", [{"PYTHONUNBUFFERED": ""}, {"PYTHONUNBUFFERED": "1"}])
@pytest.mark.parametrize("words", [pytest.param(("show", "bsilu"), marks=pytest.mark.long), ("list", "spaces")])
def test_a_full_disk_is_one_line(words, buffered):
    options = {"env": os.environ | buffered, "stderr": subprocess.PIPE}
    with Path("/dev/full").open("w") as full, process(*words, stdout=full, **options) as running:
        err = running.communicate(timeout=60)[1]
    assert running.returncode == 1
    assert len(err.splitlines()) == 1 and "standard output cannot be written" in err


def test_files_of_the_current_folder_are_not_run(tmp_path):
    """Integration by sympy happens in a process of its own, which must not import from here."""
    for name in ("sympy", "mpmath", "sugar_search"):
        (tmp_path / f"{name}.py").write_text("open('hacked', 'w')\n")
    with process("show", "atan(x)/(1 + x*x)", cwd=tmp_path, stdout=subprocess.PIPE) as running:
        out = running.communicate(timeout=60)[0]
    assert running.returncode == 0 and "0.5*atan(x)**2 (found here" in out
    assert not (tmp_path / "hacked").exists()


def test_an_error_of_another_file_adds_nothing_to_the_output():
    """A program may read it as one JSON object a line."""
    code = """
import sys
from sugar_search.cli import app, main

def fail(**options):
    print("one line")
    raise OSError(5, "broken")

app.app = fail
main()
"""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (1, "one line\n")
    assert "Traceback" in err
