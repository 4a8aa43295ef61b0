"""Every block of docs/results.md, run as it stands there, over the output of a job in both formats."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from endings import plan_of
from engines import planned_job, row, run_job
from jobs import ENGINE, HOLDER, FakeClock
from pages import blocks

from batch.jobs.lease import claim
from pipelines.attempt.finalize import finalize
from pipelines.engines.echo import EchoEngine

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
BLOCKS = blocks(PAGE, "python")
ROWS = [row(f"r{number}", str(number), answer=str(number)) for number in range(600)]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `out` and `table`: 600 rows in two parts, and one row that failed."""
    folder = tmp_path_factory.mktemp("results")
    for name, output_format in (("out", "jsonl"), ("table", "parquet")):
        root = folder / f"job-{name}"
        root.mkdir()
        job = planned_job(
            [*ROWS, b"not json"], root=f"file://{root}", output_format=output_format, carry=("answer",), shard_rows=400
        )
        claim(job, HOLDER, clock=FakeClock())
        run_job(job, EchoEngine())
        finalize(job, plan_of(job), epoch=1, engine=ENGINE, clock=FakeClock())
        (root / "out").rename(folder / name)
    return folder


@pytest.mark.parametrize("block", BLOCKS, ids=[re.findall(r"(?:import|from) (\w+)", block)[0] for block in BLOCKS])
def test_a_block_of_the_page_runs(block: str, folder: Path) -> None:
    command = [sys.executable, "-c", block]
    ended = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    print(ended.stdout)


def test_what_the_page_says_of_the_rows_is_right(folder: Path) -> None:
    import duckdb

    def asked(query: str) -> list[tuple[object, ...]]:
        return duckdb.connect().execute(query.replace("FROM '", f"FROM '{folder}/")).fetchall()

    assert asked("SELECT text = answer, count(*) FROM 'table/results/*.parquet' GROUP BY ALL") == [(True, 600)]
    assert asked("SELECT error.code, count(*) FROM 'table/errors/*.parquet' GROUP BY ALL") == [("malformed_json", 1)]
