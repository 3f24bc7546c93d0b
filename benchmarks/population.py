"""Runs per hour of small perceptrons: a process per run, the training loop in one process, and a population.

Usage: python benchmarks/population.py [--members 100] [--rounds 5] [--epochs 10] [--net narrow_mlp] [--table2]

All three train the same specifications (surrogates of the paper, seeds in turn) for the same epochs on one thread,
interleaved: each round has one process, some runs of the loop and two populations. All store checkpoints as they do in
a study: the loop after each epoch, a population of short epochs once a second or less often; the second population
stores after each epoch as well, which shows what of the gain is not due to that. A run of narrow_mlp has 250 epochs;
measured are fewer, and the others are counted at the median time of an epoch after the first; that leaves out what a
population's checkpoints take now and then, 4 % of its time at most. mlp's runs are whole.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from unittest import mock

import torch

from sugar_search.search.pinned import load_baselines
from sugar_search.training.dying_relu import study_of
from sugar_search.training.dying_runs import run_target
from sugar_search.training.loop import train
from sugar_search.training.population import train as population
from sugar_search.training.population.train import train_population
from sugar_search.training.recipe import load_recipe
from sugar_search.training.run import RunSpec

NETS = {"narrow_mlp": ("regression/f1", "dying-relu"), "mlp": ("digits", "digits")}
WARM = 3  # runs of the loop in a round
CHILD = """
import json, sys
from sugar_search.training.loop import train
from sugar_search.training.run import RunSpec
list(train(RunSpec.from_dict(json.load(sys.stdin))))
"""


def specs_of(net, epochs, count, folder):
    dataset, recipe = NETS[net]
    recipe, surrogates = load_recipe(recipe, epochs=epochs), load_baselines()
    return [
        RunSpec(net, dataset, recipe, n, surrogates[n % len(surrogates)].to_dict(), folder=f"{folder}/{n}")
        for n in range(count)
    ]


def timed(steps):
    """Seconds of a training, and of an epoch after the first."""
    ends = [time.perf_counter()]
    for _ in steps:
        ends.append(time.perf_counter())
    last = time.perf_counter()
    laps = [b - a for a, b in pairwise(ends[1:])]
    return last - ends[0], statistics.median(laps) if laps else 0.0


def a_process(spec):
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", CHILD], input=json.dumps(spec.to_dict()), text=True, check=True)
    return time.perf_counter() - began


def one_round(net, measured, whole, members):
    """Seconds of one run by each way, at the recipe's number of epochs."""
    left = whole - measured
    with tempfile.TemporaryDirectory() as folder:
        alone = [timed(train(spec)) for spec in specs_of(net, measured, WARM, f"{folder}/warm")]
        total, epoch = timed(train_population(specs_of(net, measured, members, f"{folder}/population")))
        with mock.patch.object(population, "STORE_SECONDS", 0.0):
            stored, stored_epoch = timed(train_population(specs_of(net, measured, members, f"{folder}/stored")))
        process = a_process(specs_of(net, measured, 1, f"{folder}/process")[0])
    lap = statistics.median(each for _, each in alone)
    return {
        "a process per run": process + left * lap,
        "warm loop": statistics.median(each for each, _ in alone) + left * lap,
        f"population of {members}": (total + left * epoch) / members,
        "  stored each epoch": (stored + left * stored_epoch) / members,
    }


def spread(values, digits):
    ordered = sorted(values)
    return f"{statistics.median(ordered):,.{digits}f} ({ordered[0]:,.{digits}f} to {ordered[-1]:,.{digits}f})"


def table2():
    study = study_of()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for target in study.targets:
            result = run_target(study, target, Path(folder))
            print(f"  {target}: {len(result.runs)} runs, {result.seconds:.0f} s of computing", flush=True)
        print(f"table 2: {time.perf_counter() - began:.0f} s on one thread")


def main():
    parser = argparse.ArgumentParser(description="Runs per hour of small perceptrons, three ways")
    parser.add_argument("--members", type=int, default=100, help="of a population (default 100)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of narrow_mlp that are measured (default 10)")
    parser.add_argument("--net", choices=NETS, action="append", help="default: both")
    parser.add_argument("--table2", action="store_true", help="also train all of the paper's Table 2")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{processor()}, torch {torch.__version__}, one thread, {arguments.rounds} rounds")
    print(f"{'network':<12}{'way':<22}{'runs/hour: median (spread)':<36}{'x process':<26}x warm loop")
    for net in arguments.net or NETS:
        whole = load_recipe(NETS[net][1]).epochs
        measured = min(arguments.epochs, whole) if net == "narrow_mlp" else whole
        one_round(net, measured, whole, 2)  # loads data, builds tables
        rounds = [one_round(net, measured, whole, arguments.members) for _ in range(arguments.rounds)]
        for way in rounds[0]:
            speed = spread([3600 / each[way] for each in rounds], 0)
            process = spread([each["a process per run"] / each[way] for each in rounds], 1)
            warm = spread([each["warm loop"] / each[way] for each in rounds], 1)
            print(f"{net:<12}{way:<22}{speed:<36}{process:<26}{warm}", flush=True)
    if arguments.table2:
        table2()


def processor():
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
