"""`pip install .` and `pip install -e .` both give a command that finds its data from any folder."""

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.long
@pytest.mark.parametrize("how", [[], ["-e"]])
def test_install_into_a_new_environment(tmp_path, how):
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, tracked)):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    # The dependencies come from this environment: what is tested is our own package, not a download.
    packages = next((environment / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", *how, str(source)]
    subprocess.run(install, check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = environment / "bin" / "sugar-search"
    listed = subprocess.run(
        [command, "list", "spaces"], cwd=elsewhere, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["families", "grammar", "mixed"]
    where = [python, "-c", "import sugar_search; print(sugar_search.__file__)"]
    origin = subprocess.run(where, cwd=elsewhere, capture_output=True, text=True, check=True).stdout
    assert (str(source) in origin) == bool(how)
    words = "--arch mlp --dataset digits --epochs 1 --trials 1 --confirm 0 --workers 1".split()
    subprocess.run([command, *words], cwd=elsewhere, capture_output=True, check=True)
    assert list(elsewhere.glob("results/*/best_surrogate.py"))
