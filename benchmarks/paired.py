"""Times cases side by side: all of them in each round, in an order drawn anew, so that drifts meet all alike."""

import platform
import random
import statistics
import time
from pathlib import Path

import torch


def machine(device, threads):
    """One line that names the machine."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{_processor()}, torch {torch.__version__}, {threads} thread{'' if threads == 1 else 's'}"


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def seconds(call, times=1):
    """Wall time of one call, over `times` calls in a row."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / times


def rounds(cases, count, times=1, settle=0):
    """Seconds of every case in each of `count` rounds, by name.

    Args:
        cases: functions by name.
        count: rounds.
        times: calls in a row that are timed together.
        settle: calls before those, not timed: what another case leaves in caches and allocators is not its own doing.
    """
    order, found, draw = list(cases), {name: [] for name in cases}, random.Random(0)
    for _ in range(count):
        draw.shuffle(order)
        for name in order:
            for _ in range(settle):
                cases[name]()
            found[name].append(seconds(cases[name], times))
    return found


def ratios(times, name, base):
    """Ratio of a case to the base case, round by round."""
    return [a / b for a, b in zip(times[name], times[base], strict=True)]


def interval(values):
    """95 % bootstrap interval of the median, from 2,000 resamples."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(2000))
    return medians[50], medians[1949]
