"""Both engines run the same study: worker processes, Ray, deaths, kills and resumes."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import makers
import pytest
from studies import results

from sugar_search.search.engines.local import device_of
from sugar_search.search.records import BASELINE
from sugar_search.search.sitting import run_sitting
from sugar_search.search.view import read_study

ENGINES = ["local", pytest.param("ray", marks=pytest.mark.long)]

# What each signal stops, and when it comes: at the first event (Ray is starting and has a handler of its own) or while
# runs execute.
STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
SIGNALLED = [("local", 0, "run", *STOPS[0]), ("local", 1, "run", *STOPS[1])]
SIGNALLED += [
    pytest.param(engine, 2, moment, *stop, marks=pytest.mark.long)
    for engine, moment in (("local", "run"), ("ray", "study"), ("ray", "run"))
    for stop in STOPS
]


def children(pid):
    """Worker processes of `pid`, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z" and "engines.worker" in command:
            found.append(int(entry.name))
    return found


def command(out, engine, *, epochs=2, trials=3, workers=2):
    options = [
        "--arch",
        "mlp",
        "--dataset",
        "digits",
        "--space",
        "families",
        "--study",
        "small",
        "--json",
        "--confirm",
        "0",
    ]
    options += ["--epochs", str(epochs), "--trials", str(trials), "--workers", str(workers), "--gpus-per-trial", "0"]
    return [
        sys.executable,
        "-c",
        "from sugar_search.cli import main; main()",
        *options,
        "--out",
        str(out),
        "--engine",
        engine,
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_to_the_last_bit(sit, engine):
    here, _ = sit(study="here", trials=1)
    there, _ = sit(study="there", trials=1, engine=engine, workers=2)
    assert results(here, BASELINE) == results(there, BASELINE)
    common = here.test.keys() & there.test.keys()
    assert common
    assert all(here.test[run] == there.test[run] for run in common)
    assert {t.state for t in there.trials} <= {"COMPLETE", "PRUNED"}


def test_a_run_that_brings_its_worker_down_every_time_fails_alone(sit, plan):
    notes = []

    def watch(event):
        if event["event"] == "note":
            notes.append(event["text"])
        if event["event"] == "epoch" and event["trial"] == 0:
            os.kill(children(os.getpid())[0], signal.SIGKILL)

    study = run_sitting(plan(workers=1, trials=3, baselines=False), watch)
    # Small runs share a worker: those that die with it are tried again alone, and have not used up their second try.
    assert sum("alone: the worker died (signal SIGKILL)" in note for note in notes) == 3
    assert [t.state for t in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert [len(t.deaths) for t in study.trials] == [2, 0, 0]
    assert "twice" in study.trials[0].reason
    calm, _ = sit(study="calm", trials=3, baselines=False)
    # Each alone: the same bits as without the kills.
    found, failed = results(study), study.trials[0].run(1)
    assert {run: each for run, each in results(calm).items() if run != failed} == {
        run: each for run, each in found.items() if run != failed
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_kill_9_then_rerun_loses_nothing_and_runs_nothing_twice(plan, tmp_path, engine):
    call = command(tmp_path, engine, workers=1)
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    ended = []
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "run":
            ended.append(event["run"])
        if len(ended) == 5:
            break
    workers = children(process.pid)
    process.kill()
    process.wait()
    before = set(results(read_study("small", tmp_path)))
    assert set(ended) <= before
    events, options = [], {"workers": 0} if engine == "local" else {"workers": 1, "engine": engine}
    study = run_sitting(plan(trials=3, out=tmp_path, **options), events.append)
    after = [run.run for t in study.trials for run in t.runs.values()]
    assert before <= set(after)
    assert len(after) == len(set(after)) == 14
    assert not before & {e["run"] for e in events if e["event"] == "run"}
    assert all(t.ended for t in study.trials)
    until = time.monotonic() + 30
    while (left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.1)  # a worker soon finds that its parent is gone
    assert not left
    assert workers or engine == "ray"  # whose actors are not children of the coordinator


@pytest.mark.long
def test_twenty_kills_at_random_times(tmp_path):
    call, rng, seen = command(tmp_path, "local", epochs=3), random.Random(5), set()
    for _ in range(20):
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(1.0, 8.0))
        process.kill()
        process.wait()
        if (tmp_path / "small" / "study.db").exists():
            try:
                now = set(results(read_study("small", tmp_path)))
            except Exception:  # killed before the study was created in its new database
                continue
            assert seen <= now
            seen = now
    subprocess.run(call, stdout=subprocess.DEVNULL, check=True)
    study = read_study("small", tmp_path)
    runs = [run.run for t in study.trials for run in t.runs.values()]
    assert seen <= set(runs)
    assert len(runs) == len(set(runs)) == 14
    assert all(t.ended for t in study.trials)


@pytest.mark.parametrize(("engine", "workers", "moment", "number", "code"), SIGNALLED)
def test_signals_end_with_their_exit_code_and_say_how_to_go_on(tmp_path, engine, workers, moment, number, code):
    call = command(tmp_path, engine, workers=workers)
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if json.loads(line)["event"] == moment:
            break
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Go on with: sugar-search --arch mlp" in said
    assert "Traceback" not in said
    assert not [t for t in read_study("small", tmp_path).trials if t.state == "RUNNING"]


def test_devices_are_shared_out():
    assert [device_of(i, 0.25) for i in range(6)] == ["cuda:0"] * 4 + ["cuda:1"] * 2
    assert [device_of(i, 2) for i in range(2)] == ["cuda:0", "cuda:2"]
    assert device_of(3, 0) == "cpu"
    # A tenth, ten times over, is one GPU: no rounding may push a worker off it.
    assert {device_of(i, 0.1) for i in range(10)} == {"cuda:0"}


@pytest.mark.long
def test_ray_refuses_what_its_cluster_can_never_give(plan):
    from sugar_search.errors import InputError

    with pytest.raises(InputError, match="must fit the Ray cluster"):
        run_sitting(plan(engine="ray", workers=1, gpus=4.0), lambda event: None)


@pytest.mark.long
def test_a_run_that_ray_stopped_leaves_no_checkpoint_when_its_actor_goes_on(coordinator):
    from sugar_search.search.engines.ray import _Actor

    asked = coordinator(together=1, trials=2, epochs=4)
    first, second = asked.next_job(), asked.next_job()
    actor = object.__new__(_Actor)
    actor.setup({"job": json.dumps(first.to_dict()), "gpus": 0})
    assert "epoch" in actor.step()
    assert actor.reset_config({"job": json.dumps(second.to_dict()), "gpus": 0})
    assert not list(Path(first.spec.folder).glob("*"))
    assert "epoch" in actor.step()
    actor.cleanup()  # the sitting ends: this one goes on in the next
    assert list(Path(second.spec.folder).glob("*"))


@pytest.mark.long
def test_ray_uses_the_cluster_that_ray_address_names(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray = Path(sys.executable).with_name("ray")
    options = ["--head", "--block", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    # Ray asks for a token by default; a cluster on the loopback needs none.
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    options += ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
    cluster = subprocess.Popen([ray, "start", *options], **quiet)
    try:
        environment["RAY_ADDRESS"] = f"127.0.0.1:{port}"
        for _ in range(10):  # until the cluster answers
            done = subprocess.run(command(tmp_path, "ray", trials=1), env=environment, capture_output=True, text=True)
            if done.returncode == 0:
                break
            time.sleep(2)
        assert done.returncode == 0, done.stderr
        assert cluster.poll() is None
    finally:
        cluster.terminate()
        cluster.wait()
    assert all(t.state in ("COMPLETE", "PRUNED") for t in read_study("small", tmp_path).trials)


@pytest.mark.long
def test_ray_finds_the_users_parts_data_and_results_by_relative_paths(tmp_path):
    """Ray's workers have a working folder of their own."""
    (tmp_path / "ray_parts.py").write_text(
        "from torch import nn\n\ndef build(input_shape, outputs):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.ReLU(), nn.Linear(8, outputs))\n"
    )
    makers.make_image_folder(tmp_path / "pictures", val=2)
    words = "--arch ray_parts:build --dataset image_folder/32 --data-dir pictures --epochs 1 --trials 1 --engine ray"
    words += " --recipe own-data --confirm 1 --gpus-per-trial 0 --workers 2 --study parts --out here --space families"
    call = [sys.executable, "-c", "from sugar_search.cli import main; main()", *words.split(), "--no-baselines"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    study = read_study("parts", tmp_path / "here")
    assert all(run.state == "complete" for t in study.trials for run in t.runs.values())
    assert study.test  # weights lay where the coordinator looked for them
