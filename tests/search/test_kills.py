"""Studies that are killed in the middle of a round find what they would have found."""

import signal
import subprocess
import sys

import pytest
from studies import results

from sugar_search.search import execution, sampler
from sugar_search.search.records import PROPOSAL
from sugar_search.search.sitting import run_sitting

ROUND = 5

# Runs studies that kill themselves in their second round, the first one for which the sampler learns from results: each
# in a fork of a process that has imported everything but computed nothing.
KILLED = """
import os, signal, sys, traceback
from sugar_search.search import execution, sampler, store
from sugar_search.search.plan import build_plan
from sugar_search.search.sitting import run_sitting
import sugar_search.training.loop, sugar_search.training.population.train

execution.TOGETHER = sampler.START_UP = ROUND

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def second(kind, **wanted):
    def of_second_round(event):
        return event["event"] == kind and event["trial"] >= ROUND and wanted.items() <= event.items()
    return of_second_round

MOMENTS = {
    "proposing": None,
    "epoch": second("epoch", epoch=2),
    "stopped": second("run", state="stopped"),
    "first-end": second("run", state="complete", seed=1),
    "last-end": second("run", trial=2 * ROUND - 1, seed=1),
    "seed": second("run", seed=10),
}

def study(moment):
    events, add, added = [], store.Store.add, []
    if moment == "proposing":
        def dying(self, *arguments, **options):
            added.append(1)
            return die() if len(added) == ROUND + 3 else add(self, *arguments, **options)
        store.Store.add = dying
    def watch(event):
        if MOMENTS[moment] is not None and MOMENTS[moment](event):
            die()
    run_sitting(build_plan(out=OUT, study=moment, **OPTIONS), watch)

for moment in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            study(moment)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    print(moment, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


RACE = {"trials": 3 * ROUND, "repeats": 2, "epochs": 2}  # some proposals leave the race after a seed
HALVING = {"trials": 3 * ROUND, "repeats": 3, "epochs": 5}  # some stop at the rung after epoch 4
KILLS = [
    (RACE, ("proposing",)),
    pytest.param(RACE, ("epoch", "first-end", "last-end", "seed"), marks=pytest.mark.long),
    pytest.param(HALVING, ("proposing", "epoch", "stopped", "first-end", "last-end", "seed"), marks=pytest.mark.long),
]


@pytest.mark.parametrize(("changes", "moments"), KILLS)
def test_kill_9_in_a_round_changes_nothing_of_what_one_worker_finds(plan, tmp_path, monkeypatch, changes, moments):
    """Proposals, races and results are those of a study that was left alone."""
    options = {"arch": "mlp", "dataset": "digits", "space": "families", "confirm": 0, "workers": 0, "gpus": 0}
    options |= {"baselines": False} | changes
    names = f"from pathlib import Path\nROUND, OUT, OPTIONS = {ROUND}, Path({str(tmp_path / 'results')!r}), {options!r}"
    call = [sys.executable, "-c", names + KILLED, *moments]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    killed = dict(line.split() for line in done.stdout.splitlines())
    assert killed == dict.fromkeys(moments, str(-signal.SIGKILL)), done.stderr
    monkeypatch.setattr(execution, "TOGETHER", ROUND)
    monkeypatch.setattr(sampler, "START_UP", ROUND)
    whole = run_sitting(plan(**options, study="whole"), lambda event: None)
    proposals = [t for t in whole.trials if t.kind == PROPOSAL]
    assert 0 < sum(t.ended and bool(t.undecided) for t in proposals) < len(proposals)
    for moment in moments:
        study = run_sitting(plan(**options, study=moment), lambda event: None)
        assert [t.surrogate for t in study.trials] == [t.surrogate for t in whole.trials], moment
        assert results(study) == results(whole), moment
