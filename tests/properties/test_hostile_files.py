"""Hostile files are planned, decoded and read by a process each: every row once or one sentence, in less than 1 GiB.

Ten thousand with BATCHCTL_TESTS=long. A failure names its seed; `hostile_file` makes the file again.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from long_run import LONG

ROOT = Path(__file__).parents[2]
FILES = 10_000 if LONG else 20
MOST_MIB = 1024


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_file_ends_its_process_or_takes_a_gibibyte(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tests" / "hostile_accounts.py"), "0", str(FILES), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    told = [line.split() for line in answer.stdout.splitlines()]
    assert len(told) == FILES, answer.stderr
    ends = Counter(end for _, end, *_ in told)
    peaks = sorted(int(peak_mib) for _, _, peak_mib, *_ in told)
    print(f"{FILES:,} hostile files: {dict(ends)}; peak {peaks[-1]} MiB, median {peaks[FILES // 2]} MiB")
    assert set(ends) == {"read", "refused"}, answer.stderr
    assert ends["refused"] < FILES // 2
    assert peaks[-1] < MOST_MIB, max(told, key=lambda words: int(words[2]))
