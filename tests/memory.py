"""How much memory a piece of code takes at its peak, told by a process of its own that does nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# VmHWM, not getrusage: that one counts the process which started this one.
_PLANNER = """
import json, re, sys
from pathlib import Path
from specs import job_spec
from batch.planning.plan import encode_plan, make_plan
from batch.rows.request import Decoder, Request
from batch.planning.shard_rows import read_rows
from connectors.datasets.reader import PieceReader

def peak_bytes():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def plan_and_read(uri, shards):
    spec = job_spec(inputs=(uri,))
    plan = make_plan(spec)
    fates = {}
    reader, decoder = PieceReader(max_line_bytes=spec.max_line_bytes), Decoder(spec)
    for shard in plan.shards[:shards]:
        for row in read_rows(plan, shard, reader):
            decoded = decoder.decode(uri, row.line, duplicate=row.is_repeat)
            fate = "decoded" if isinstance(decoded, Request) else decoded.code
            fates[fate] = fates.get(fate, 0) + 1
    return plan, fates

small, large, shards = sys.argv[1], sys.argv[2], int(sys.argv[3])
plan_and_read(small, 1)
before_bytes = peak_bytes()
plan, fates = plan_and_read(large, shards)
duplicates = sum(len(lines) for lines in plan.repeated_lines().values())
print(json.dumps({"grown_bytes": peak_bytes() - before_bytes, "lines": plan.lines, "rows": plan.rows, "fates": fates,
    "shards": len(plan.shards), "duplicates": duplicates, "plan_bytes": len(encode_plan(plan))}))
"""


def planned_alone(small: Path, large: Path, *, shards: int = 100) -> dict[str, Any]:
    """Plan a small file to load what that needs, then a large one, and decode its first shards; tell the growth."""
    command = [sys.executable, "-c", _PLANNER, str(small), str(large), str(shards)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    told: dict[str, Any] = json.loads(answer.stdout)
    return told
