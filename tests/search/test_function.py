"""`ss.search(train_fn)`: the user's own training function decides, and nothing of it ends a study."""

import logging

import pytest
import torch
from torch import nn

import sugar_search as ss
from sugar_search.errors import InputError

OPTIONS = {"space": "families", "confirm": 2, "trials": 3, "study": "mine"}


def train(make_activation, run):
    """Fits |x| with 8 units for a few steps; returns the error."""
    model = nn.Sequential(nn.Linear(1, 8), make_activation(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    x = torch.linspace(-1, 1, 64)[:, None]
    for _ in range(10):
        loss = (model(x) - x.abs()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_a_search_around_a_function_ends_with_a_surrogate_to_export(tmp_path):
    study = ss.search(train, direction="minimize", out=tmp_path, **OPTIONS)
    kinds = [t.kind for t in study.trials]
    assert kinds.count("baseline") == 11 and kinds.count("proposal") == 3
    best = min(t.values[0] for t in study.trials if t.kind != "confirmation" and t.state == "COMPLETE")
    assert best == min(c.score() for c in study.candidates if c.score() is not None)
    assert study.verdict["unit"] == "value"
    assert all(c["seeds"] == 2 for c in study.verdict["comparisons"])  # fresh seeds alone
    assert ss.export(study.best, tmp_path / "best.py").read_text().startswith('"""')
    # The same call trains nothing again, and gives the same study.
    events = []
    again = ss.search(train, direction="minimize", out=tmp_path, on_event=events.append, **OPTIONS)
    assert not [e for e in events if e["event"] == "start"]
    assert again.verdict == study.verdict


def test_runs_are_seeded_and_see_their_surrogate(tmp_path):
    seen = []

    def noted(make_activation, run):
        module = make_activation()
        seen.append((run.seed, module.surrogate == run.surrogate, torch.rand(()).item(), make_activation() is module))
        return 0.5

    options = OPTIONS | {"trials": 0, "repeats": 2, "confirm": 0}
    study = ss.search(noted, out=tmp_path, **options)
    assert {seed for seed, *_ in seen} == {1, 10}
    assert len({draw for *_, draw, _ in seen}) == 2  # the seed alone decides
    assert all(same and not shared for _, same, _, shared in seen)
    assert len(study.trials) == 11


def test_a_function_that_fails_fails_its_trial_alone(tmp_path, caplog):
    def sometimes(make_activation, run):
        title = run.surrogate.title
        if title.startswith("ELU"):
            raise RuntimeError("no luck\nsecond line")
        return float("nan") if title.startswith("GELU") else 1.0

    with caplog.at_level(logging.INFO, "sugar_search"):
        study = ss.search(sometimes, out=tmp_path, **OPTIONS | {"trials": 0, "confirm": 0})
    failed = {t.surrogate.title: t.reason for t in study.trials if t.state == "FAIL"}
    assert failed["ELU(α=1)"] == "RuntimeError: no luck"
    assert "nan" in failed["GELU"]
    assert len(failed) == 2
    assert "baseline ELU(α=1): fail: RuntimeError: no luck" in caplog.text


def test_reports_race_and_the_worse_half_ends_early(tmp_path):
    lengths = {}

    def reporting(make_activation, run):
        quality = (int(run.surrogate.id[:6], 16) % 997) / 997
        for epoch in range(8):
            lengths[run.surrogate.id] = epoch + 1
            run.report(quality)
        return quality

    study = ss.search(reporting, epochs=8, out=tmp_path, **OPTIONS | {"trials": 12, "confirm": 0})
    stopped = [t for t in study.trials if t.state == "PRUNED"]
    assert stopped and all(t.kind == "proposal" for t in stopped)
    assert {lengths[t.surrogate.id] for t in stopped} <= {4, 6}
    assert all(lengths[t.surrogate.id] == 8 for t in study.trials if t.state == "COMPLETE")


@pytest.mark.parametrize(
    ("function", "changes", "said"),
    [
        ("no function", {}, "train_fn must be a function"),
        (train, {"direction": "up"}, "maximize or minimize"),
        (train, {"epochs": 0}, "epochs must be 1 or more"),
        (train, {"space": "mixd"}, "did you mean mixed"),
        (train, {"trials": -1}, "--trials must be"),
        (train, {"sampler": "tpee"}, "did you mean tpe"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(function, changes, said, tmp_path):
    with pytest.raises(InputError, match=said):
        ss.search(function, out=tmp_path / "results", **OPTIONS | changes)
    assert not (tmp_path / "results").exists()


def test_the_package_is_still_a_package():
    import sugar_search.search.plan

    assert callable(ss.search)
    assert ss.search.plan is sugar_search.search.plan
