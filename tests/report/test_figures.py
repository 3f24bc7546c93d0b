"""Pictures: their numbers are the surrogates', files are whole, and bad targets are refused before any work."""

import numpy as np
import pandas as pd
import pytest

from sugar_search.errors import FileError
from sugar_search.report.describe import describe
from sugar_search.report.figures import FIGURES, check_picture, draw_surrogate, figure_frame, write_figure
from sugar_search.symbolic.surrogate import surrogate

PNG = b"\x89PNG\r\n\x1a\n"


def _slope(frame, name):
    x, y = frame["x"].to_numpy(), frame[name].to_numpy()
    return x[1:-1], (y[2:] - y[:-2]) / (x[2:] - x[:-2])


def test_figure_8_draws_each_activation_beside_its_own_derivative():
    frame = figure_frame("fig8")
    names = [name for name in frame.columns if name != "x" and not name.endswith("derivative")]
    assert names == ["ELU", "GELU", "SiLU", "SELU", "LeakyReLU(0.2)", "ReLU", "B-SiLU"]
    for name in names:
        x, slope = _slope(frame, name)
        smooth = np.abs(x) > 0.01
        assert np.abs(slope - frame[f"{name} derivative"][1:-1])[smooth].max() < 1e-4, name
    assert frame["LeakyReLU(0.2)"][0] == pytest.approx(0.2 * frame["x"][0])


def test_figure_1_keeps_relu_forward_and_says_which_alpha_is_drawn():
    frame = figure_frame("fig1")
    assert (frame["ReLU"] == frame["x"].clip(lower=0)).all()
    assert frame["B-SiLU derivative"].max() == pytest.approx(1.290377, abs=1e-4)
    assert frame["NeLU derivative"].min() == pytest.approx(-0.6495 * 0.1, abs=1e-4)
    assert "does not give NeLU's alpha" in FIGURES["fig1"].description and "0.1" in FIGURES["fig1"].description


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_and_its_numbers_are_written_alike_each_time(name, tmp_path):
    first = [path.read_bytes() for path in write_figure(name, tmp_path / "new" / "folder")]
    paths = write_figure(name, tmp_path / "again")
    assert [path.read_bytes() for path in paths] == first
    assert [path.name for path in paths] == [f"{name}.png", f"{name}.csv"]
    assert first[0].startswith(PNG) and len(first[0]) > 10_000
    assert np.allclose(pd.read_csv(paths[1]), figure_frame(name), atol=1e-8)


@pytest.mark.parametrize("text", ["-exp(-x*x)", "nelu", "1", "where(x > 0.1, 1, 0.1*abs(x)*normal_pdf(x))"])
def test_any_surrogate_can_be_drawn(text, tmp_path):
    path = tmp_path / "plot.png"
    draw_surrogate(describe(surrogate(text)), path)
    assert path.read_bytes().startswith(PNG)
    assert [found.name for found in tmp_path.iterdir()] == ["plot.png"]


@pytest.mark.parametrize("name", ["plot.pdf", "plot", "missing/plot.png", ".", "a_file/plot.png", "folder.png"])
def test_targets_that_cannot_be_written_are_refused(name, tmp_path):
    (tmp_path / "a_file").write_text("")
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FileError, match="a plot must"):
        check_picture(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_an_old_picture_is_kept_until_the_new_one_is_whole(tmp_path, monkeypatch):
    from sugar_search.report import figures

    path = tmp_path / "plot.png"
    path.write_bytes(b"old")
    check_picture(path)
    assert path.read_bytes() == b"old"
    monkeypatch.setattr(figures, "_png", lambda figure: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        draw_surrogate(describe(surrogate("relu")), path)
    assert path.read_bytes() == b"old"
