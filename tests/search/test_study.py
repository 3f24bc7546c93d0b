"""A study from its first trial to the verdict, in this process on real training."""

import json
import os
import signal
import threading

import optuna
import pytest
from studies import results, small_plan

from sugar_search.errors import DivergedError
from sugar_search.search import execution, sampler
from sugar_search.search.interrupt import Interrupted
from sugar_search.search.plan import fresh_seeds
from sugar_search.search.records import BASELINE, CONFIRMATION, PROPOSAL
from sugar_search.search.sitting import run_sitting
from sugar_search.search.view import read_study
from sugar_search.training import loop
from sugar_search.training.population import train as population


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of the baselines and four proposals, in one sitting."""
    return run_sitting(small_plan(tmp_path_factory.mktemp("whole"), trials=4), lambda event: None)


def test_baselines_first_then_proposals_then_the_verdict(sit):
    study, events = sit(trials=3, confirm=2)
    kinds = [t.kind for t in study.trials]
    assert kinds == [BASELINE] * 11 + [PROPOSAL] * 3 + [CONFIRMATION] * len([k for k in kinds if k == CONFIRMATION])
    assert all(t.ended for t in study.trials)
    assert {t.state for t in study.trials if t.kind == BASELINE} == {"COMPLETE"}
    assert all(t.seeds == fresh_seeds(2) for t in study.trials if t.kind == CONFIRMATION)
    # The test set was read for the finalists' runs alone.
    finalists = {t.surrogate for t in study.trials if t.kind == CONFIRMATION}
    read = {t.surrogate for t in study.trials for r in t.runs.values() if r.run in study.test}
    assert read == finalists
    assert "ReLU" in {s.title for s in finalists}
    assert study.best.title == study.verdict["winner"]
    assert events[0]["event"] == "study"
    ends = [e["run"] for e in events if e["event"] == "run"]
    assert len(ends) == len(set(ends)) == sum(len(t.runs) for t in study.trials)


def test_same_seed_gives_the_same_study_and_another_seed_another(sit, whole):
    first = whole
    second, _ = sit(study="b", trials=4)
    other, _ = sit(study="c", trials=4, seed=7)
    assert results(first) == results(second)
    assert results(first, BASELINE) == results(other, BASELINE)
    assert results(first, PROPOSAL) != results(other, PROPOSAL)


def test_weights_are_kept_until_their_test_metrics_are_known_and_no_longer(plan, monkeypatch):
    monkeypatch.setattr(execution, "TOGETHER", 1)
    chosen, seen = plan(trials=3, confirm=1), []

    def watch(event):
        if event["event"] == "trial":
            seen.append({p.name for p in (chosen.folder / "work").iterdir() if p.is_dir()})

    study = run_sitting(chosen, watch)
    assert max(map(len, seen)) < 12
    assert set(study.test) <= set().union(*seen)
    assert not [p for p in (chosen.folder / "work").iterdir() if p.is_dir()]


def test_lost_weights_cost_their_test_metrics_and_nothing_else(plan):
    chosen, notes = plan(trials=1, confirm=2), []

    def watch(event):
        if event["event"] == "note":
            notes.append(event["text"])
        if event["event"] == "trial" and event["kind"] == CONFIRMATION and not notes:
            for path in (chosen.folder / "work").glob("*-s1/weights.safetensors"):
                path.unlink()

    study = run_sitting(chosen, watch)
    assert any("no test metrics of run" in note for note in notes)
    assert study.verdict["comparisons"][0]["seeds"] == 2


def test_a_resumed_study_makes_the_proposals_of_an_uninterrupted_one(sit, whole):
    sit(study="parts", trials=0)
    sit(study="parts", trials=2)
    parts, events = sit(study="parts", trials=4)
    assert events[0]["resumed"]
    assert sum(e["event"] == "run" for e in events) == 2
    assert results(parts) == results(whole)


def test_a_finished_study_trains_nothing_and_reads_no_test_data_again(sit, monkeypatch):
    first, _ = sit(confirm=1)
    monkeypatch.setattr(loop, "evaluate_test", lambda spec: pytest.fail("the test set was read again"))
    second, events = sit(confirm=1)
    assert not [e for e in events if e["event"] in ("start", "run")]
    assert results(first) == results(second)
    assert first.test == second.test


def test_more_repeats_add_only_the_missing_seeds(sit):
    sit(trials=0)
    study, events = sit(trials=0, repeats=2)
    assert [e["seed"] for e in events if e["event"] == "run"] == [10] * 11
    assert all(len(c.runs) == 2 for c in study.candidates)


def test_repeats_may_grow_after_a_confirmation(sit):
    first, _ = sit(trials=2, confirm=2)
    study, _ = sit(trials=2, confirm=2, repeats=2)
    assert results(first).items() <= results(study).items()
    baselines = [c for c in study.candidates if BASELINE in c.kinds]
    assert all(set(c.scores(fresh=False)) == {1, 10} for c in baselines)
    assert all(set(c.fresh) in (set(), set(fresh_seeds(2))) for c in study.candidates)


def test_baselines_may_come_after_proposals(sit, tmp_path):
    path = tmp_path / "papers.toml"
    path.write_text('description = "x"\nkind = "families"\n[families.gelu]\n[families.elu]\n[families.silu]\n')
    alone, _ = sit(space=str(path), trials=3, baselines=False)
    assert [t.kind for t in alone.trials] == [PROPOSAL] * 3
    study, _ = sit(space=str(path), trials=3)
    assert len(study.candidates) == 11
    assert all(set(c.runs) == {1} for c in study.candidates)
    # They are the paper's, whoever proposed them first.
    assert len(study.verdict["comparisons"]) == 1


def test_repeats_race_proposals_but_never_baselines(sit):
    study, _ = sit(trials=8, repeats=3, epochs=1)
    assert all(set(t.runs) == {1, 10, 20} for t in study.trials if t.kind == BASELINE)
    proposals = [t for t in study.trials if t.kind == PROPOSAL]
    out = [t for t in proposals if t.undecided]
    assert 0 < len(out) < len(proposals)
    assert all("out of the race" in t.reason for t in out)
    # The value of a trial is the mean over its runs.
    for trial in proposals:
        assert trial.values[0] == pytest.approx(sum(r.values[0] for r in trial.runs.values()) / len(trial.runs))


def test_halving_stops_proposals_at_a_rung_and_never_baselines(sit):
    study, _ = sit(trials=8, epochs=5)
    stopped = [t for t in study.trials if t.state == "PRUNED"]
    assert stopped
    assert all(t.kind == PROPOSAL for t in stopped)
    assert {r.epochs for t in stopped for r in t.runs.values()} <= {4}


def test_several_objectives(sit):
    study, _ = sit(objective="accuracy,sparsity", trials=2)
    for trial in study.trials:
        if trial.state == "COMPLETE":
            run = trial.runs[1]
            assert trial.values == (run.metrics["accuracy"], run.metrics["sparsity"])
    assert read_study(str(study.folder), study.folder).objectives[1].maximise


def test_without_baselines_the_best_proposal_is_exported(sit):
    study, _ = sit(baselines=False, trials=2)
    assert {t.kind for t in study.trials} == {PROPOSAL}
    assert study.best in {t.surrogate for t in study.trials}


def test_no_function_is_trained_twice(sit):
    study, _ = sit(trials=25, epochs=1, baselines=False)
    forms = [t.surrogate.canonical for t in study.trials]
    assert len(forms) == len(set(forms))


def test_a_space_that_runs_out_ends_the_study_and_says_so(sit, tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "EXHAUSTED", 2 * sampler.PATIENCE)
    path = tmp_path / "tiny.toml"
    path.write_text('description = "two"\nkind = "families"\n[families.gelu]\n[families.hardswish]\n')
    study, events = sit(space=str(path), trials=9)
    # GELU is a baseline already.
    assert [t.surrogate.name for t in study.trials if t.kind == PROPOSAL] == ["hardswish"]
    assert any("holds nothing new" in e.get("text", "") for e in events)
    assert study.refused["duplicate"] > 0


def test_another_spelling_of_a_known_function_is_a_duplicate(sit, tmp_path, monkeypatch):
    """The canonical forms of these two differ; their fingerprints do not."""
    monkeypatch.setattr(sampler, "EXHAUSTED", 20)
    path = tmp_path / "spellings.toml"
    spellings = ["max(sigmoid(x), 1 - sigmoid(x))", "sigmoid(abs(x))"]
    path.write_text(f'description = "two"\nkind = "grammar"\nstart = "s"\nmax_depth = 1\n[rules]\ns = {spellings}\n')
    study, _ = sit(space=str(path), trials=2, epochs=1, baselines=False)
    assert len(study.trials) == 1
    assert study.refused["duplicate"] > 0


def test_a_failed_run_fails_its_trial_and_the_study_goes_on(sit, monkeypatch):
    whole = population.train_population

    def broken(specs, **options):
        names = [spec.surrogate["name"] for spec in specs]
        if "gelu" in names:
            raise MemoryError("no more")
        steps, sent, ill = whole(specs, **options), None, {names.index("elu")} if "elu" in names else set()
        for epoch in range(specs[0].recipe.epochs):
            found = next(steps) if epoch == 0 else steps.send(sent)
            found |= dict.fromkeys(ill, DivergedError(1, "loss is nan")) if epoch == 0 else {}
            sent = ((yield found) or set()) | ill

    monkeypatch.setattr(population, "train_population", broken)
    study, events = sit(trials=1)
    reasons = {t.surrogate.name: t.reason for t in study.trials if t.state == "FAIL"}
    assert reasons == {"elu": "diverged in epoch 1: loss is nan", "gelu": "MemoryError: no more"}
    assert study.verdict is not None
    # The others are tried again, alone, and nothing is held against them.
    assert not [death for t in study.trials for death in t.deaths]
    assert any("tried again, alone: MemoryError: no more" in e.get("text", "") for e in events)
    assert sum(t.state == "COMPLETE" for t in study.trials) >= 9


def test_every_run_is_written_the_moment_it_ends(plan):
    chosen = plan(trials=1)
    written = []

    def watch(event):
        if event["event"] == "run":
            stored = optuna.load_study(study_name=chosen.name, storage=chosen.url).get_trials()[event["trial"]]
            written.append(stored.user_attrs[f"run.{event['seed']}"]["run"] == event["run"])

    run_sitting(chosen, watch)
    assert len(written) == 12
    assert all(written)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_study(plan, sit, number):
    chosen = plan(trials=1)

    def watch(event):
        if event["event"] == "run" and event["trial"] == 3:
            os.kill(os.getpid(), number)

    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(Interrupted) as caught:
        run_sitting(chosen, watch)
    assert caught.value.number == number
    half = read_study(str(chosen.folder), chosen.folder)
    assert not [t for t in half.trials if t.state == "RUNNING"]
    before = results(half)
    assert 0 < len(before) < 12
    study, _ = sit(trials=1)
    assert before.items() <= results(study).items()
    assert len(results(study)) == 12


def test_time_is_a_limit_for_proposals_and_a_sitting(sit):
    study, events = sit(trials=None, time_budget="0.001s")
    assert not any(t.runs for t in study.trials)
    assert any("time is up" in e.get("text", "") for e in events)
    assert {t.state for t in study.trials} == {"WAITING"}
    sit(trials=0)
    study, _ = sit(trials=None, time_budget="2s")
    assert any(t.kind == PROPOSAL for t in study.trials)
    assert all(t.ended for t in study.trials)
    assert study.verdict is not None


def test_everything_stored_is_json(sit):
    study, events = sit(trials=1)
    json.dumps(events)
    json.dumps(study.verdict)
    files = {p.suffix for p in study.folder.rglob("*") if p.is_file()}
    assert not files & {".pkl", ".pickle", ".pt", ".pth"}
