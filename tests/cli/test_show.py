"""`sugar-search show` and the figures of `reproduce`, in this process."""

import json
import sys

import pytest

from sugar_search.cli import main


def test_bsilu_is_recognised_from_its_formula(sugar):
    code, out, _ = sugar("show", "sigmoid(x)+(x+1.67)*sigmoid(x)*(1-sigmoid(x))")
    assert code == 0
    assert "B-SiLU(α=1.67) (the same function)" in out and "1.290377 at x = 1.4915" in out


@pytest.mark.parametrize("formula", ["-exp(-x*x)", "-x*exp(-x*x)", "-tanh(x)", "--x/(1+x*x)", "-1 if x>=0 else 1"])
def test_a_formula_may_start_with_a_minus(sugar, formula, tmp_path):
    code, out, err = sugar("show", formula, "--plot", tmp_path / "f.png")
    assert code == 0, err
    assert "admission     proven" in out
    assert (tmp_path / "f.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-x*exp(-x)"], "grows without bound as x -> -oo"),
        (["__import__('os').system('id')"], "column 1"),
        (["x + __import__('os')"], "column 5"),
        (["bsilu", "--plot", "plot.svg"], "a plot must be a .png file"),
        (["bsilu", "--plot", "missing/plot.png"], "existing folder"),
        (["bsilu", "--plot", "a" * 240 + ".png"], "at most 200 bytes"),
        (["1/x", "--plot", "plot.png"], "x = 0"),
        (["-x*exp(-x)", "--json"], "-oo"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_writes_nothing(sugar, monkeypatch, tmp_path, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = sugar("show", *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and said in err
    assert not list(tmp_path.iterdir())


def test_other_faults_of_the_system_keep_their_traceback(monkeypatch):
    from sugar_search.report import describe

    def broken(*_):
        raise OSError(5, "a bug of ours")

    monkeypatch.setattr(describe, "find", broken)
    monkeypatch.setattr(sys, "argv", ["sugar-search", "show", "bsilu"])
    with pytest.raises(OSError, match="a bug of ours"):
        main()


def test_a_bad_target_is_said_before_any_work(sugar, monkeypatch):
    from sugar_search.report import describe

    monkeypatch.setattr(describe, "find", lambda *_: pytest.fail("worked first"))
    assert sugar("show", "bsilu", "--plot", "nowhere/plot.png")[0] == 2


def test_json_is_one_object(sugar):
    code, out, _ = sugar("show", "nelu", "--json")
    assert code == 0 and len(out.splitlines()) == 1
    shown = json.loads(out)
    assert shown["title"] == "NeLU(α=0.01)" and shown["certificate"]["verdict"]["status"] == "proven"


@pytest.mark.parametrize("name", ["fig1", "fig8"])
def test_a_figure_is_drawn_without_training(sugar, tmp_path, name):
    code, out, _ = sugar("reproduce", name, "--out", tmp_path / "results")
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [f"{name}.csv", f"{name}.png"]
    assert str(tmp_path / "results" / f"{name}.png") in out
    code, out, _ = sugar("reproduce", name.title(), "--out", tmp_path / "results", "--json")
    assert json.loads(out)["figure"] == name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fig1", "--epochs", "3"], "takes --out and --json only"),
        (["fig8", "--dry-run"], "--dry-run"),
        (["fig2"], "did you mean fig"),
        (["nothing"], "table4"),
    ],
)
def test_what_there_is_to_reproduce_is_told(sugar, tmp_path, words, said):
    code, out, err = sugar("reproduce", *words, "--out", tmp_path / "results")
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1
    assert not (tmp_path / "results").exists()
