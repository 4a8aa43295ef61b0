"""Jobs that an earlier version has left, in every phase and damaged, are read, resumed or refused as it would have.

`tests/data/jobs_of_before.tar.gz` was made by the version before jobs had a life and outputs an audit; its README says
how. The jobs name their inputs and outputs by address, so they are unpacked where they were made.
"""

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from terminal import Output, Terminal

from batch.jobs.lease import this_process

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ARCHIVE = Path(__file__).parents[1] / "data" / "jobs_of_before.tar.gz"
PLACE = Path("/tmp/batchctl-old-jobs")
VERSION = re.compile(r'"file://(?P<path>[^"]+)"[^"/]*("bytes": \d+,\s*"etag": )?"(?P<version>\d+-\d+-\d+)"')


@pytest.fixture
def before(person: dict[str, str], ray_cluster: str) -> Iterator[Terminal]:
    """A terminal where the jobs are."""
    shutil.rmtree(PLACE, ignore_errors=True)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(PLACE, filter="data")
    bring_here()
    yield Terminal(PLACE, person, ray=ray_cluster)
    shutil.rmtree(PLACE)


def bring_here() -> None:
    """Have the jobs say that this machine is theirs: its files have other numbers, and its processes are others."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = asdict(replace(this_process(), pid=ended.pid))  # else each claim is watched for half a minute
    for epoch in PLACE.glob("*/_job/epochs/00000001.json"):
        epoch.write_text(json.dumps(json.loads(epoch.read_text()) | {"holder": here}))
    for record in [*PLACE.glob("*/_job/plan.json"), *PLACE.glob("*/manifest.json")]:
        record.write_text(VERSION.sub(of_here, record.read_text()))


def of_here(found: re.Match[str]) -> str:
    """An address and the version of what is there, as a plan and a manifest have them."""
    status = Path(found["path"]).stat()
    return found[0].replace(found["version"], f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}")


def again(terminal: Terminal, name: str, *words: str) -> tuple[int, str]:
    """The command that the job was started with, given again."""
    job = ("run", f"{name}.jsonl", "--model", "m", "--engine", "echo", "--output", name, "--job-id", name)
    ended = terminal.run(*job, *words)
    return ended.returncode, ended.stdout + ended.stderr


def ids(output: Output) -> list[str]:
    return [row["custom_id"] for row in output.rows("results")]


def test_an_ended_job_is_read_and_left_as_it_is(before: Terminal) -> None:
    untouched = {path: path.read_bytes() for path in (PLACE / "finished").rglob("*") if path.is_file()}

    results, errors = (before.run("results", "finished", *more) for more in ((), ("--errors",)))
    status = before.run("status", "finished", "--format", "json")
    code, _ = again(before, "finished")

    assert [json.loads(line)["custom_id"] for line in results.stdout.splitlines()] == [
        f"row-{n:05d}" for n in range(60)
    ]
    assert [json.loads(line)["error"]["code"] for line in errors.stdout.splitlines()] == [
        "malformed_json",
        "duplicate_custom_id",
    ]
    assert json.loads(status.stdout)["state"] == "COMPLETED"
    assert code == 0
    assert {path: path.read_bytes() for path in (PLACE / "finished").rglob("*") if path.is_file()} == untouched


def test_a_table_of_results_is_read(before: Terminal) -> None:
    (part,) = Output(PLACE / "parquet").manifest()["results"]

    code, _ = again(before, "parquet", "--output-format", "parquet")

    assert code == 0
    assert len(before.run("results", "parquet").stdout.splitlines()) == 40
    assert pq.read_table(PLACE / "parquet" / part["key"]).num_rows == 40


def test_an_expired_job_is_told_as_that(before: Terminal) -> None:
    code, _ = again(before, "expired", "--engine-arg", "delay_s=1", "--deadline", "11s")

    assert code == 4
    manifest = Output(PLACE / "expired").manifest()
    assert manifest["state"] == "EXPIRED"
    assert manifest["succeeded"] + manifest["failed"] == 4000


@pytest.mark.parametrize(
    ("name", "words", "rows"),
    [
        ("interrupted", ("--engine-arg", "delay_s=0.2"), 4000),
        ("killed", ("--engine-arg", "delay_s=0.2", "--journal-every", "1s"), 4000),
        ("planned", ("--engine-arg", "delay_s=0.2"), 4000),
        ("claimed", ("--engine-arg", "delay_s=0.2"), 4000),
        ("unclosed", (), 60),
        ("clustered", ("--replicas", "4", "--engine-arg", "delay_s=2"), 400),
        ("garbled", ("--engine-arg", "delay_s=0.2", "--journal-every", "1s"), 4000),
    ],
)
def test_an_unfinished_job_is_resumed(before: Terminal, name: str, words: tuple[str, ...], rows: int) -> None:
    output = Output(PLACE / name)
    commits = output.commits()

    code, said = again(before, name, *words)

    assert code == 0, said
    assert ids(output) == [f"row-{n:05d}" for n in range(rows)]
    assert {key: output.commits().get(key) for key in commits} == commits


def test_a_part_that_was_cut_is_run_again(before: Terminal) -> None:
    code, said = again(before, "cut", "--engine-arg", "delay_s=0.2", "--journal-every", "1s")

    assert code == 0, said
    assert "185,856 were written: shard 2 is run again" in (PLACE / "cut/_job/logs/attempt-00000002.log").read_text()
    assert ids(Output(PLACE / "cut")) == [f"row-{n:05d}" for n in range(4000)]


def test_a_damaged_plan_is_refused_by_name(before: Terminal) -> None:
    code, said = again(before, "broken", "--engine-arg", "delay_s=0.2")

    assert code != 0
    assert "_job/plan.json" in said
