"""Coverage-guided fuzzing for SUGAR_FUZZ_SECONDS (60), in a process of its own; `target.py` runs for longer by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.long
def test_the_fuzzer_finds_nothing(tmp_path):
    pytest.importorskip("atheris", reason="atheris is not installed: pip install atheris")
    seconds = int(os.environ.get("SUGAR_FUZZ_SECONDS", "60"))
    command = [sys.executable, str(HERE / "target.py"), str(tmp_path), f"-max_total_time={seconds}", "-timeout=20"]
    command += [f"-dict={HERE / 'corpus' / 'formula.dict'}", "-rss_limit_mb=4096", "-max_len=3000", "-seed=1"]
    path = os.pathsep.join([str(HERE), str(HERE.parent / "symbolic")])
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=seconds + 200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1500:]
