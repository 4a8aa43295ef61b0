"""An input that changes under a job fails it with the reason, however it changed and wherever it lies."""

import asyncio
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from engines import ScriptedEngine, rows, started
from jobs import make_spec

from batch.errors import InputChanged
from batch.jobs.store import JobStore
from batch.planning.plan import make_plan
from connectors.stores.store import Store
from pipelines.shards.runner import ShardRunner

CONTENT = b"".join(orjson.dumps(row) + b"\n" for row in rows(4))
FILES = {"in.jsonl": CONTENT, "in.jsonl.gz": gzip.compress(CONTENT)}
REASON = "in.jsonl.* changed after the job was planned.*start a new job"


def planned_over(uri: str) -> JobStore:
    spec = make_spec(inputs=(uri,), output=f"memory://inputs-{uuid4().hex}/out", shard_rows=2)
    job = JobStore.open(spec.output)
    job.create_spec(spec)
    job.create_plan(make_plan(spec))
    return job


def run_shard(job: JobStore, index: int) -> None:
    asyncio.run(_run_shard(job, index))


async def _run_shard(job: JobStore, index: int) -> None:
    await ShardRunner(job, started(ScriptedEngine()), epoch=1, name="a").run(index)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more\n")


def rewrite(path: Path) -> None:
    """Other bytes, as many."""
    path.write_bytes(bytes(reversed(path.read_bytes())))


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replace_by_a_copy(path: Path) -> None:
    """The same bytes, written at the same time: another file all the same."""
    before, copy = path.stat(), path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    copy.rename(path)


@pytest.mark.parametrize("change", [grow, rewrite, touch, replace_by_a_copy, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_local_file_that_changed_is_refused_in_the_middle_of_a_job(
    tmp_path: Path, change: Callable[[Path], None], name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    job = planned_over(str(path))
    run_shard(job, 0)
    change(path)

    with pytest.raises(InputChanged, match=REASON):
        run_shard(job, 1)
    assert job.committed_shards() == {0}


@pytest.mark.parametrize("name", FILES)
def test_an_object_that_was_overwritten_or_deleted_is_refused(store: Store, name: str) -> None:
    """By its version, on every kind of store, though the new one has as many bytes."""
    store.put(name, FILES[name])
    job = planned_over(f"{store.uri}/{name}")
    run_shard(job, 0)

    store.put(name, bytes(reversed(FILES[name])))
    with pytest.raises(InputChanged, match=REASON):
        run_shard(job, 1)
    store.delete(name)
    with pytest.raises(InputChanged, match=REASON):
        run_shard(job, 1)
    assert job.committed_shards() == {0}
