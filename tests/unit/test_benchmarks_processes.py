"""What a command cost, counted over its whole tree."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.machine import ROOT, parse_cpu_times
from benchmarks.processes import Cost, name_of_command

SPIN = "import time; end = time.process_time() + {s}\nwhile time.process_time() < end: pass"
HOLD = "import time; block = bytearray({bytes}); block[::4096] = b'x' * len(block[::4096]); time.sleep(1.5)"


MEASURE = """
import os, sys
from pathlib import Path
import orjson
from benchmarks.processes import run_measured
code, log, with_memory = sys.argv[1:]
command = [sys.executable, "-c", code]
cost = run_measured(command, environment=os.environ, log=Path(log), with_memory=with_memory == "True")
sys.stdout.buffer.write(orjson.dumps(cost))
"""


def run_python(code: str, tmp_path: Path, *, with_memory: bool = False) -> Cost:
    """Measures from a process of its own: what else pytest has started is not the command's."""
    command = [sys.executable, "-c", MEASURE, code, str(tmp_path / "log.txt"), str(with_memory)]
    finished = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return Cost(**orjson.loads(finished.stdout))


def test_cpu_of_a_grandchild_whose_parent_has_gone_is_counted_and_awaited(tmp_path: Path) -> None:
    spin = SPIN.format(s=2.5)
    cost = run_python(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {spin!r}])", tmp_path)
    assert cost.exit_code == 0
    assert cost.cpu_s >= 1.5


def test_memory_is_summed_over_the_tree_and_named_by_process(tmp_path: Path) -> None:
    (tmp_path / "holder.py").write_text(HOLD.format(bytes=64 << 20))
    start = f"import subprocess, sys; command = [sys.executable, {str(tmp_path / 'holder.py')!r}]"
    cost = run_python(
        f"{start}\nfor one in [subprocess.Popen(command) for _ in '12']: one.wait()", tmp_path, with_memory=True
    )
    assert 128 << 20 <= cost.peak_pss_bytes < 256 << 20
    assert 64 << 20 <= cost.peak_pss_by_process["holder.py"] < 96 << 20


def test_each_line_of_output_carries_the_time_of_its_beginning(tmp_path: Path) -> None:
    code = "import sys, time; sys.stderr.write('\\r0 %'); sys.stderr.flush(); time.sleep(1); print('\\r100 %')"
    cost = run_python(code, tmp_path)
    stamps = {
        text: float(stamp) - cost.started_at
        for stamp, _, text in (line.partition(" ") for line in (tmp_path / "log.txt").read_text().splitlines())
        if text
    }
    assert list(stamps) == ["0 %", "100 %"]
    assert stamps["100 %"] - stamps["0 %"] == pytest.approx(1.0, abs=0.3)


def test_the_exit_code_of_the_command_is_kept(tmp_path: Path) -> None:
    assert run_python("raise SystemExit(7)", tmp_path).exit_code == 7


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/python3.11 -P -m pipelines.worker --job x", "pipelines.worker"),
        ("/x/.venv/bin/python /x/dashboard/agent.py --node", "agent.py"),
        ("/x/ray/core/raylet --raylet_socket_name=y", "raylet"),
        ("ray::MapWorker(MapBatches(EngineActor)).submit", "ray::EngineActor"),
        ("ray::_StatsActor.register_dataset", "ray::_StatsActor"),
        ("ray::IDLE", "ray::IDLE"),
    ],
)
def test_processes_are_named_by_what_they_run(command: str, name: str) -> None:
    assert name_of_command([word.encode() for word in command.split()]) == name


def test_steal_is_apart_from_what_is_busy() -> None:
    before = parse_cpu_times("cpu  100 0 50 800 10 0 0 40 0 0")
    after = parse_cpu_times("cpu  200 0 100 1600 20 0 0 80 0 0")
    during = after - before
    assert during.busy_s == pytest.approx(1.5)
    assert during.stolen_s / during.total_s == pytest.approx(0.04)
