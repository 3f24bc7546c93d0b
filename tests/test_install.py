"""`pip install .` and `pip install -e .` both give a command that finds its data from any folder."""

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def install(tmp_path, *how, **environment):
    """Installs the tracked files into a new environment; returns its folder and that of the source."""
    source = tmp_path / "source"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, tracked)):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    environment_folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", environment_folder], check=True)
    # The dependencies come from this environment: what is tested is our own package, not a download.
    packages = next((environment_folder / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    command = [environment_folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", *how, str(source)]
    subprocess.run(command, check=True, env=os.environ | environment)
    return environment_folder, source


def installed_library(environment, cache):
    """The file that the compiled kernels come from, "None" without; with no compiler to make one later."""
    code = "from sugar_search.activation.kernels import native; print(getattr(native.load(), '_name', None))"
    variables = os.environ | {"CC": "no_such_compiler", "XDG_CACHE_HOME": str(cache)}
    command = [environment / "bin" / "python", "-c", code]
    return subprocess.run(command, cwd=cache.parent, env=variables, capture_output=True, text=True, check=True).stdout


@pytest.mark.long
@pytest.mark.parametrize("how", [[], ["-e"]])
def test_install_into_a_new_environment(tmp_path, how):
    environment, source = install(tmp_path, *how)
    python = environment / "bin" / "python"
    place = source if how else environment
    assert installed_library(environment, tmp_path / "cache").startswith(str(place))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = environment / "bin" / "sugar-search"
    listed = subprocess.run(
        [command, "list", "spaces"], cwd=elsewhere, capture_output=True, text=True, check=True
    ).stdout
    spaces = sorted(path.stem for path in (ROOT / "search_spaces").glob("*.toml"))
    assert [line.split()[0] for line in listed.splitlines()] == spaces
    where = [python, "-c", "import sugar_search; print(sugar_search.__file__)"]
    origin = subprocess.run(where, cwd=elsewhere, capture_output=True, text=True, check=True).stdout
    assert (str(source) in origin) == bool(how)
    words = "--arch mlp --dataset digits --epochs 1 --trials 1 --confirm 0 --workers 1".split()
    subprocess.run([command, *words], cwd=elsewhere, capture_output=True, check=True)
    assert list(elsewhere.glob("results/*/best_surrogate.py"))


@pytest.mark.long
@pytest.mark.parametrize("variable", [{"CC": "no_such_compiler"}, {"SUGAR_SEARCH_NATIVE": "0"}])
def test_install_without_a_compiler(tmp_path, variable):
    environment, _ = install(tmp_path, **variable)
    assert installed_library(environment, tmp_path / "cache").strip() == "None"
    code = """
import torch
from sugar_search import SugarReLU
x = torch.linspace(-2, 2, 9, requires_grad=True)
SugarReLU("bsilu")(x).sum().backward()
assert x.grad[0] != 0"""
    subprocess.run([environment / "bin" / "python", "-c", code], cwd=tmp_path, check=True, env=os.environ | variable)
