"""The command line as a user types it: help, lists, and one line for bad input."""

import re
import subprocess
import sys

import pytest

from sugar_search import __version__, catalog

SEARCH = ["--arch", "mlp", "--dataset", "digits", "--epochs", "1"]


@pytest.mark.parametrize("words", [["--help"], ["list", "--help"], ["show", "--help"], ["export", "--help"], []])
def test_help(sugar, words):
    done = sugar(*words)
    assert done.code == 0
    assert "Usage:" in done.out


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nsys.argv = ['sugar-search', '--help']\nfrom sugar_search.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', sorted({'torch', 'sympy', 'optuna', 'ray', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = re.search(r"HEAVY \[(.*)\]", done.stdout)[1]
    assert not {"torch", "sympy", "optuna", "ray"} & set(re.findall(r"\w+", heavy)), heavy


def test_version(sugar):
    assert sugar("--version").out.strip() == f"sugar-search {__version__}"


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
def test_list(sugar, kind, names):
    lines = sugar("list", kind).out.splitlines()
    listed = {line.split()[0]: line for line in lines}
    assert set(names) <= set(listed)
    # Every part says what it is.
    assert all(len(line.split()) > 3 for line in lines)


def test_recipes_are_shown_with_every_value_and_what_it_means(sugar):
    done = sugar("list", "recipes", "--verbose")
    assert done.code == 0
    heads = done.out.splitlines()[1].split()
    assert heads == ["key", *catalog.names("recipes"), "meaning"]
    rows = {found[1]: line for line in done.out.splitlines()[3:] if (found := re.match(r" {1,2}(\S+)", line))}
    assert "300" in rows["epochs"] and "passes over the training samples" in rows["epochs"]
    assert "rand-m9-mstd0.5-inc1" in done.out and "per step" in rows["optimizer.lr"]
    assert "0.1" in rows["validation.share"] and "0.05" in rows["validation.share"]
    refused = sugar("list", "archs", "--verbose")
    assert refused.code == 2 and "--verbose belongs to list recipes" in refused.err


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
def test_bad_input_is_one_line_exit_2_and_writes_nothing(sugar, tmp_path, words, said):
    done = sugar(*words, cwd=tmp_path)
    assert done.code == 2
    assert done.out == ""
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    assert said in lines[0]
    assert not list(tmp_path.iterdir())


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
def test_show(sugar, formula, words):
    done = sugar("show", formula)
    assert done.code == 0, done.err
    for word in words:
        assert word in done.out
