"""One line of results per run: `benchmarks/results/<benchmark>-<time>.jsonl`. Knows nothing of arms."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from benchmarks.machine import Setting
from benchmarks.workloads import SEED, Workload

RESULTS = Path(__file__).parent / "results"


class Recorder:
    """Appends the runs of one benchmark to a file of their own; each line says where and on what it was measured."""

    def __init__(self, benchmark: str, setting: Setting, *, folder: Path = RESULTS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{benchmark}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
        self._benchmark, self._setting = benchmark, setting

    def add(self, measured: Any, workload: Workload, **more: str | float) -> None:
        """Append one run: a dataclass of figures, with what else tells it from the others."""
        line = {
            "benchmark": self._benchmark,
            "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            **more,
            "measured": measured,
            "workload": {"name": workload.name, "rows": workload.rows, "digest": workload.digest, "seed": SEED},
            "setting": self._setting,
        }
        with self.path.open("ab") as file:
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
