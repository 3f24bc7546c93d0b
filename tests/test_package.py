"""The public API, and what importing costs."""

import pickle
import subprocess
import sys

import pytest

import sugar_search as ss
from sugar_search.errors import DivergedError, FormulaError, InputError, UnknownNameError


def test_public_names_load_on_first_use():
    for name in ss.__all__:
        assert getattr(ss, name) is not None
    assert set(ss.__all__) <= set(dir(ss))
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = ss.nothing_here


def test_importing_the_package_is_light():
    code = "import sys, sugar_search; print(bool({'torch', 'sympy', 'optuna', 'ray', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_api_end_to_end(tmp_path):
    import torch
    from torch import nn

    surrogate = ss.surrogate(activation="(x + a)*sigmoid(x) - a/2", a=1.67)
    assert surrogate == ss.surrogate("bsilu", alpha=1.67)
    model = ss.convert(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), surrogate)
    assert len(ss.sites(model)) == 1
    x = torch.randn(5, 3)
    model(x).sum().backward()
    assert isinstance(model[1], ss.SugarReLU)
    assert ss.export(surrogate, tmp_path / "best.py").is_file()


@pytest.mark.parametrize(
    "error",
    [
        InputError("--x must be 1", 2, "give 1"),
        FormulaError("column 3: no", "x+?", "drop it"),
        UnknownNameError.of("arch", "renset", ["resnet18"]),
        DivergedError(3, "loss is nan"),
    ],
)
def test_errors_cross_process_borders_whole(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert "\n" not in str(error)


def test_an_error_never_floods_the_terminal():
    assert len(str(InputError("a formula must be short", "x" * 10**6, "shorten it"))) < 200
