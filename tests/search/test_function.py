"""`ss.search(train_fn)`: the user's own training function decides, and nothing of it ends a study."""

import contextlib
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

    options = OPTIONS | {"baselines": False, "repeats": 2, "confirm": 0}
    study = ss.search(noted, out=tmp_path, **options)
    assert {seed for seed, *_ in seen} == {1, 10}
    assert len({draw for *_, draw, _ in seen}) == 2  # the seed alone decides
    assert all(same and not shared for _, same, _, shared in seen)
    assert len(study.trials) == 3


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


def first(make_activation, run):
    return 1.0


def second(make_activation, run):
    return 2.0


def test_another_function_is_another_study_and_one_that_holds_values_needs_a_name(tmp_path):
    from functools import partial

    options = OPTIONS | {"trials": 1, "baselines": False, "confirm": 0, "out": tmp_path}
    del options["study"]
    assert ss.search(first, **options).folder != ss.search(second, **options).folder
    second.__name__, second.__qualname__ = first.__name__, first.__qualname__  # the same name with another body
    assert len(list(tmp_path.glob("*/study.db"))) == 2
    values = {t.values for t in ss.search(second, **options).trials}
    assert values == {(2.0,)}
    for held in (partial(first), lambda make_activation, run: 1.0, Held(1.0), Held(1.0).fit):
        with pytest.raises(InputError, match="needs study="):
            ss.search(held, **options)
    study = ss.search(Held(3.0).fit, study="held", **options)
    assert {t.values for t in study.trials} == {(3.0,)}


class Held:
    def __init__(self, value):
        self.value = value

    def fit(self, make_activation, run):
        return torch.tensor(self.value, requires_grad=True)  # a tensor with a graph is a score too

    __call__ = fit


def test_a_stop_that_the_function_swallows_still_stops_and_nan_is_a_failure(tmp_path, recwarn):
    def stubborn(make_activation, run):
        quality = (int(run.surrogate.id[:6], 16) % 997) / 997
        for _ in range(8):
            with contextlib.suppress(BaseException):
                run.report(quality)
        return quality

    options = OPTIONS | {"trials": 12, "confirm": 0, "out": tmp_path}
    study = ss.search(stubborn, epochs=8, **options)
    assert [t for t in study.trials if t.state == "PRUNED"]

    def lost(make_activation, run):
        if run.surrogate.title == "ELU(α=1)":
            raise SystemExit(3)
        for value in (1.0, float("nan")):
            run.report(value)

    study = ss.search(lost, **options | {"trials": 0, "study": "lost"})
    reasons = [t.reason for t in study.trials]
    assert all(t.state == "FAIL" for t in study.trials)
    assert reasons.count("diverged in epoch 2: the function's score is nan") == 10
    assert reasons.count("SystemExit: 3") == 1
