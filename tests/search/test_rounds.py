"""Rounds of proposals: what their sampler and their races know, what starts in which time, what a rerun finds."""

import signal
from pathlib import Path

import pytest
from studies import EPOCH_SECONDS, end

from sugar_search.search import sampler
from sugar_search.search.execution import Execution
from sugar_search.search.interrupt import Interrupted, signals
from sugar_search.search.jobs import DIED, Outcome
from sugar_search.training.population.members import Population


@pytest.mark.parametrize("place", [0, 5])
def test_a_race_is_judged_by_earlier_rounds_alone_when_it_is_judged_again_too(coordinator, place):
    options = {"together": 6, "trials": 12, "repeats": 2, "confirm": 0}
    first = coordinator(**options)
    for _ in range(2):  # nothing to be judged by, so both seeds
        end(first, first.next_jobs(), [0.4, 0.4, 0.6, 0.6, 0.6, 0.6])
    # In the better half of the earlier round, though not of its own and the earlier one together.
    losses = [0.1] * 6
    losses[place] = 0.5
    end(first, first.next_jobs(), losses)
    first.close()
    again = coordinator(**options)
    assert sorted(job.spec.seed for job in again.next_jobs()) == [10] * 6
    assert not [t for t in again.trials if t.ended and t.undecided]


def test_a_group_that_was_stopped_while_it_ended_is_made_whole_before_it_goes_on(coordinator):
    options = {"together": 4, "trials": 4, "repeats": 2, "confirm": 0}
    first = coordinator(**options)
    jobs = first.next_jobs()
    end(first, jobs[:2])  # and the others' ends were never written
    first.close()
    again = coordinator(**options)
    rest = again.next_jobs()
    assert [job.run for job in rest] == [job.run for job in jobs[2:]]
    end(again, rest)
    assert [job.spec.seed for job in again.next_jobs()] == [10] * 4


@pytest.mark.parametrize("confirm", [0, 2])
def test_no_proposal_starts_that_does_not_fit_into_the_time(coordinator, confirm):
    run = 2 * EPOCH_SECONDS
    reserve = 3 * confirm * run
    budget = 10.5 * run + reserve
    asked = coordinator(trials=None, time_budget=f"{budget}s", workers=1, confirm=confirm)
    clock, groups = asked.agenda.clock, []
    while (jobs := asked.next_jobs()) and not asked.agenda.confirming:
        groups.append(len(jobs))
        end(asked, jobs)
        assert clock.now + reserve < budget
    assert groups == [1, 3, 4, 2]
    assert bool(jobs) == bool(confirm)  # the confirmation has begun


def test_runs_of_other_workers_count_against_the_time_of_a_group(coordinator):
    asked = coordinator(trials=None, time_budget="30s", workers=2, confirm=0)
    end(asked, asked.next_jobs(idle=4))  # one run, so that its time, a second, is known
    assert [len(asked.next_jobs()), len(asked.next_jobs())] == [3, 4]
    # Each worker has 3.5 runs ahead of it, on average.
    asked.agenda.clock.now = 26.0
    assert asked.next_jobs() == []
    asked.agenda.clock.now = 25.0
    assert len(asked.next_jobs()) == 1


@pytest.mark.parametrize("repeats", [1, 2])
def test_runs_that_wait_start_only_as_many_as_the_time_has_room_for(coordinator, repeats):
    run = 2 * EPOCH_SECONDS
    asked = coordinator(together=16, baselines=True, trials=0, time_budget=f"{4.5 * run}s", workers=1, repeats=repeats)
    clock, groups = asked.agenda.clock, []
    while jobs := asked.next_jobs():
        groups.append(len(jobs))
        end(asked, jobs)
    # The first alone, for nobody knows yet what a run takes; the last one begins within the time.
    assert groups == [1, 3, 1]
    assert clock.now <= 5 * run


def test_a_group_of_new_proposals_is_small_until_a_run_has_shown_what_it_takes(coordinator):
    asked = coordinator(together=16, trials=None, time_budget="1s", workers=1, confirm=0)
    jobs = asked.next_jobs()
    assert len(jobs) == 1
    end(asked, jobs)
    assert asked.next_jobs() == []
    assert asked.agenda.proposals == 1


def test_a_confirmation_starts_in_whole_groups_whatever_the_time(coordinator):
    asked = coordinator(together=16, trials=None, time_budget="4.5s", workers=1, confirm=3)
    end(asked, asked.next_jobs())
    asked.agenda.clock.now = 5.0
    assert len(asked.next_jobs()) == 3


def test_runs_of_a_group_are_of_one_round_and_have_as_many_seeds_behind_them(coordinator):
    options = {"together": 4, "trials": 12, "repeats": 2, "confirm": 0, "workers": 2}
    first = coordinator(**options)
    jobs = first.next_jobs()
    first.next_jobs()  # a second worker begins the next round
    end(first, jobs[:1])  # and three of the first round have no result yet
    first.close()
    again, sizes = coordinator(**options), []
    while jobs := again.next_jobs():
        trials, rounds = [again.live[job.run].trial for job in jobs], again.agenda.rounds()
        assert len({(rounds[trial.number], len(trial.runs)) for trial in trials}) == 1
        sizes.append(len(jobs))
        end(again, jobs)
    assert sizes[:2] == [3, 4]
    assert again.agenda.proposals == 12


@pytest.fixture
def eager(monkeypatch):
    """TPE learns from the second round of four on; notes what it may know."""
    monkeypatch.setattr(sampler, "START_UP", 4)
    told, whole = [], sampler.Proposer.learn

    def noted(self, ended, open_=()):
        ended, open_ = list(ended), list(open_)
        told.append(([t.number for t in ended], [t.number for t in open_]))
        whole(self, ended, open_)

    monkeypatch.setattr(sampler.Proposer, "learn", noted)
    return told


def proposals(coordinator):
    return [t.surrogate.canonical for t in coordinator.trials]


LOSSES = [0.3, 0.1, 0.4, 0.2]


@pytest.mark.parametrize(("made", "results"), [(1, True), (3, True), (2, False)])
def test_a_round_that_was_stopped_is_ended_without_its_own_results(coordinator, eager, made, results):
    """The sampler learns what it knew when the round began, and keeps away from the round's proposals."""
    options = {"together": 4, "trials": 8, "confirm": 0}
    whole = coordinator(**options, study="whole")
    end(whole, whole.next_jobs(), LOSSES)
    whole.next_jobs()
    first = coordinator(**options)
    end(first, first.next_jobs(), LOSSES)
    for _ in range(made):
        first.planner.propose(0)
    if results:
        end(first, first.next_jobs(idle=4)[:1], [0.01])
    first.close()
    eager.clear()
    again = coordinator(**options)
    while again.agenda.proposals < 8:
        again.planner.propose(0)
    assert eager == [([0, 1, 2, 3], list(range(4, 4 + made)))]
    assert proposals(again) == proposals(whole)


def test_a_trial_that_ends_in_a_group_takes_no_weights_of_others_along(coordinator):
    asked = coordinator(together=4, trials=8)
    jobs = asked.next_jobs()
    folders = [Path(job.spec.folder) for job in jobs]
    for folder in folders:
        folder.mkdir(parents=True)

    def kept():
        return [number for number, folder in enumerate(folders) if folder.exists()]

    end(asked, jobs[:1], [0.3])
    assert kept() == [0, 1, 2, 3]
    end(asked, jobs[1:2], [0.1])
    assert kept() == [1, 2, 3]  # one finalist, and those that go on
    end(asked, jobs[2:], [0.2, 0.4])
    assert kept() == [1]


def test_runs_that_died_together_are_tried_alone_in_later_sittings_too(coordinator):
    first = coordinator(together=4, trials=4)
    jobs = first.next_jobs()
    for job in jobs:
        first.on_end(job.run, Outcome(DIED, "the worker died", shared=True))
    end(first, first.next_jobs())
    first.close()
    again = coordinator(together=4, trials=4)
    for _ in range(3):
        (job,) = again.next_jobs()
        end(again, [job])
    assert {t.state for t in again.trials} == {"COMPLETE"}


def test_a_signal_within_an_epoch_of_a_population_of_one_waits_for_its_end(coordinator, monkeypatch):
    (job,) = coordinator(together=1, trials=1, epochs=5).next_jobs()
    trained, sent, whole = [], [], Population.advance

    def interrupted(self, epoch):
        if epoch == 3 and not sent:
            sent.append(epoch)
            signal.raise_signal(signal.SIGTERM)
        if self.blocks or epoch - 1 in self.waiting:
            trained.append(epoch)
        whole(self, epoch)

    monkeypatch.setattr(Population, "advance", interrupted)
    first, again = Execution([job]), Execution([job])
    with pytest.raises(Interrupted), signals():
        while first.live:
            first.step()
    first.close()
    while again.live:
        again.step()
    assert trained == [1, 2, 3, 4, 5]
