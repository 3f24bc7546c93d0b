"""How long `sugar-search --help` takes: best and median of 7, beside an empty Python and the import of torch.

python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
COMMAND = str(Path(sys.executable).with_name("sugar-search"))
CASES = {
    "sugar-search --help": [COMMAND, "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
}


def main() -> None:
    """Interleaves the cases, so that a change of the machine's speed meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(RUNS):
        for name, command in CASES.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            times[name].append(1000 * (time.perf_counter() - began))
    for name, values in times.items():
        print(f"{name:<26} best of {RUNS} {min(values):7.1f} ms   median {statistics.median(values):7.1f} ms")


if __name__ == "__main__":
    main()
