"""Runs of a search in groups: how large, shared out how, within which time; and what a stop or a signal leaves."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from studies import end, results

from sugar_search.errors import FileError
from sugar_search.search import execution, preflight
from sugar_search.search.coordinator import Coordinator
from sugar_search.search.execution import Execution
from sugar_search.search.interrupt import Interrupted
from sugar_search.search.jobs import STOPPED, Outcome
from sugar_search.search.sitting import _together, run_sitting
from sugar_search.training import loop


@pytest.mark.parametrize(("trials", "sizes"), [(4, [2, 2]), (3, [2, 1]), (1, [1, 0]), (9, [2, 2])])
def test_idle_workers_share_a_round(coordinator, trials, sizes):
    asked = coordinator(trials=trials, workers=2)
    first, second = asked.next_jobs(idle=2), asked.next_jobs(idle=1)
    assert [len(first), len(second)] == sizes
    assert len({job.run for job in first + second}) == sum(sizes)
    # Both groups are of one round, of which nothing was known when it was made.
    assert set(asked.agenda.rounds().values()) == {0}


def test_a_worker_alone_takes_a_whole_round_and_the_next_one_when_that_has_ended(coordinator):
    asked = coordinator(trials=5, workers=1, confirm=0)
    jobs = asked.next_jobs()
    assert len(jobs) == 4
    end(asked, jobs)
    assert len(asked.next_jobs()) == 1


def test_the_size_of_a_group_is_bounded_by_number_weights_and_memory(plan, monkeypatch):
    from sugar_search.training.population import servable

    chosen = plan()
    assert _together(chosen) == execution.TOGETHER == 16
    monkeypatch.setattr(execution, "TOGETHER", 5)
    assert _together(chosen) == 5
    spec = {}
    whole = servable.bytes_per_member
    monkeypatch.setattr(servable, "bytes_per_member", lambda each: spec.setdefault("bytes", whole(each)))
    _together(chosen)
    monkeypatch.setattr(execution, "MOST_BYTES", 3 * spec["bytes"] + spec["bytes"] // 2)
    assert _together(chosen) == 3
    monkeypatch.setattr(execution, "MOST_BYTES", 1)
    assert _together(chosen) == 1
    monkeypatch.setattr(execution, "MOST_BYTES", 2**40)
    monkeypatch.setattr(execution, "MOST_WEIGHTS", 100)
    assert _together(chosen) == 1
    assert _together(plan(engine="ray", workers=1)) == 1


def test_preflight_asks_for_the_disk_of_all_members_of_a_group(plan, monkeypatch):
    chosen, usage = plan(), shutil.disk_usage("/")

    def needs():
        with pytest.raises(FileError) as caught:
            preflight.preflight(chosen)
        return int(str(caught.value).partition("must have ")[2].split()[0])

    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=60 * 2**20))
    monkeypatch.setattr(preflight, "TOGETHER", 1000)
    many = needs()
    monkeypatch.setattr(preflight, "TOGETHER", 2000)
    assert needs() > 1.5 * many
    monkeypatch.setattr(preflight, "MOST_WEIGHTS", 100)  # too large for a group: one run at a time
    preflight.preflight(chosen)


def test_runs_of_a_group_that_are_stopped_leave_no_checkpoint(coordinator):
    jobs = coordinator(trials=3, epochs=4).next_jobs()
    stopping, runs = Execution(jobs), [job.run for job in jobs]
    stopping.step()
    assert stopping.stop(runs[:1]) == {runs[0]: Outcome(STOPPED)}
    assert stopping.step().keys() == set(runs[1:])
    assert stopping.stop(runs[1:]) == dict.fromkeys(runs[1:], Outcome(STOPPED))
    assert stopping.live == []
    assert not [path for job in jobs for path in Path(job.spec.folder).glob("*")]


def test_a_run_that_was_stopped_just_before_its_group_was_closed_leaves_no_checkpoint(coordinator):
    jobs = coordinator(trials=3, epochs=4).next_jobs()
    stopping = Execution(jobs)
    stopping.step()
    stopping.stop([jobs[0].run])
    stopping.close()
    assert [bool(list(Path(job.spec.folder).glob("*"))) for job in jobs] == [False, True, True]


def test_a_run_alone_trains_no_epoch_after_it_was_stopped(coordinator, monkeypatch):
    trained, whole = [], loop._epoch
    monkeypatch.setattr(
        loop, "_epoch", lambda training, epoch, forward: trained.append(epoch) or whole(training, epoch, forward)
    )
    job = coordinator(trials=1, epochs=4).next_jobs()[0]
    stopping = Execution([replace(job, spec=replace(job.spec, sugar=False))])  # one that no group can train
    stopping.step()
    stopping.stop([job.run])
    assert stopping.live == [] and trained == [1]


@pytest.mark.parametrize(
    ("workers", "number"),
    [
        (0, signal.SIGTERM),
        pytest.param(0, signal.SIGINT, marks=pytest.mark.long),
        pytest.param(1, signal.SIGTERM, marks=pytest.mark.long),
        pytest.param(1, signal.SIGINT, marks=pytest.mark.long),
    ],
)
def test_a_signal_in_a_group_stores_its_members_and_a_resumed_study_goes_on_from_there(
    plan, monkeypatch, workers, number
):
    told, whole = {}, Coordinator.on_epochs

    def spy(self, records):
        told.update({(run, record.epoch): record.seconds for run, record in records.items()})
        return whole(self, records)

    monkeypatch.setattr(Coordinator, "on_epochs", spy)
    chosen, sent = plan(baselines=False, trials=5, epochs=6, workers=workers), []

    def watch(event):
        if event["event"] == "epoch" and event["epoch"] == 3 and not sent:
            sent.append(event)
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted):
        run_sitting(chosen, watch)
    before = dict(told)
    assert {epoch for _, epoch in before} == {1, 2, 3}
    runs = {run for run, _ in before}
    assert len(runs) == 5
    assert all(list((chosen.folder / "work" / run).glob("*")) for run in runs)
    study = run_sitting(chosen, lambda event: None)
    # An epoch that is not trained again has the seconds that it took the first time.
    assert {key: told[key] for key in before} == before
    assert {t.state for t in study.trials} <= {"COMPLETE", "PRUNED"}
    calm = run_sitting(plan(baselines=False, trials=5, epochs=6, study="calm"), lambda event: None)
    assert results(study) == results(calm)
