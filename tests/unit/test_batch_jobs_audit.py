"""Parts that are not as they were written when the ledger closes: told by name, in no ledger, and run again."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from engines import ScriptedEngine, ids, planned_job, rows, run_job, started
from fast_loop import run_fast
from jobs import ENGINE, HOLDER, FakeClock, make_spec

from batch import layout
from batch.errors import JobFailed, JobGone, UsageError
from batch.jobs.audit import audit, waiting_shards
from batch.jobs.lease import claim
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.records.manifest import LedgerOpen
from batch.records.objects import CorruptRecord, Crash, EngineReport, ForeignRecord, Stop, StopState
from connectors.stores.registry import open_store
from pipelines.attempt.finalize import finalize
from pipelines.shards.runner import ShardRunner

AT = "2026-01-31T11:30:00.000000Z"


@pytest.fixture
def job(tmp_path: Path) -> JobStore:
    """Two shards of three rows, committed, in a folder."""
    job = planned_job(rows(6), root=str(tmp_path), shard_rows=3, token="1f")
    claim(job, HOLDER, clock=FakeClock())
    run_job(job, ScriptedEngine())
    return job


@pytest.fixture
def part(job: JobStore, tmp_path: Path) -> Path:
    """The file of the first shard's results."""
    commit = job.commit_of(0)
    assert commit is not None
    assert commit.results is not None
    return tmp_path / "out" / commit.results.key


def close(job: JobStore) -> None:
    plan = job.plan()
    assert plan is not None
    finalize(job, plan, epoch=1, engine=ENGINE, clock=FakeClock())


def run_again(job: JobStore) -> list[int]:
    """As the same command does; the shards that it ran."""
    again = JobStore.open(job.uri)
    claim(again, HOLDER, clock=FakeClock(), options={"again": True})
    plan = again.plan()
    assert plan is not None
    waiting = waiting_shards(again, plan)

    async def run() -> None:
        replica = ShardRunner(again, started(ScriptedEngine()), epoch=2, name="b")
        for shard in waiting:
            await replica.run(shard)

    run_fast(run())
    close(again)
    return waiting


def deleted(part: Path) -> None:
    part.unlink()


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-7])


def flipped(part: Path) -> None:
    content = part.read_bytes()
    part.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])


def linked(part: Path) -> None:
    """To a file outside that holds the same bytes."""
    outside = part.parents[2] / "elsewhere.jsonl"
    part.rename(outside)
    part.symlink_to(outside)


def a_folder(part: Path) -> None:
    part.unlink()
    part.mkdir()


DAMAGE: list[Callable[[Path], None]] = [deleted, cut, flipped, linked, a_folder]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_part_that_is_not_as_it_was_written_is_named_and_run_again(
    damage: Callable[[Path], None], job: JobStore, part: Path
) -> None:
    damage(part)
    with pytest.raises(LedgerOpen, match=f"results/{part.name} (is not there|holds)"):
        close(job)
    assert job.manifest() is None
    claimed = job.latest_epoch()
    assert claimed is not None
    part.rmdir() if part.is_dir() else part.unlink(missing_ok=True)

    assert run_again(job) == [0]
    reader = JobStore.open(job.uri)
    assert ids(reader) == [f"r{n}" for n in range(6)]
    manifest = reader.manifest()
    assert manifest is not None
    assert part.name not in {Path(each.key).name for each in manifest.results}


@pytest.mark.parametrize("damage", [deleted, cut])
def test_what_is_gone_before_an_attempt_begins_is_run_by_it(
    damage: Callable[[Path], None], job: JobStore, part: Path
) -> None:
    damage(part)
    assert run_again(job) == [0]
    assert ids(JobStore.open(job.uri)) == [f"r{n}" for n in range(6)]


@pytest.mark.parametrize(
    "key",
    [
        "../elsewhere.jsonl",
        "/etc/hostname",
        "errors/part-00000-x.jsonl",
        "results/../x.jsonl",
        "results/a/part-0.jsonl",
    ],
)
def test_a_commit_that_names_what_is_no_part_of_results_counts_no_more(key: str, job: JobStore, tmp_path: Path) -> None:
    commit = job.commit_of(0)
    assert commit is not None
    assert commit.results is not None
    (tmp_path / "elsewhere.jsonl").write_bytes((tmp_path / "out" / commit.results.key).read_bytes())
    stands = tmp_path / "out" / layout.commit(0)
    stands.write_bytes(stands.read_bytes().replace(commit.results.key.encode(), key.encode()))
    with pytest.raises(LedgerOpen, match="is no part of shard 0"):
        close(JobStore.open(job.uri))

    assert run_again(job) == [0]
    assert ids(JobStore.open(job.uri)) == [f"r{n}" for n in range(6)]


def test_two_commits_that_name_one_part_do_not_both_count(job: JobStore, tmp_path: Path) -> None:
    first, second = job.commit_of(0), job.commit_of(1)
    assert first is not None
    assert second is not None
    assert first.results is not None
    assert second.results is not None
    stands = tmp_path / "out" / layout.commit(1)
    ours, theirs = (orjson.dumps(part)[1:-1] for part in (second.results, first.results))
    assert ours in stands.read_bytes()
    stands.write_bytes(stands.read_bytes().replace(ours, theirs))
    assert run_again(job) == [1]
    assert ids(JobStore.open(job.uri)) == [f"r{n}" for n in range(6)]


@pytest.mark.parametrize(
    "content", [b"", b"{cut", b'{"format":1,"shard":0}', b'{"life": "another",\n"format":1,"shard":0}']
)
def test_a_commit_that_cannot_be_read_or_is_another_jobs_counts_no_more(
    content: bytes, job: JobStore, tmp_path: Path
) -> None:
    (tmp_path / "out" / layout.commit(0)).write_bytes(content)
    assert run_again(job) == [0]
    assert ids(JobStore.open(job.uri)) == [f"r{n}" for n in range(6)]


def test_a_void_commit_stays_void_and_the_next_one_stands(job: JobStore) -> None:
    first = job.commit_of(0)
    assert first is not None
    job.void(first, "no reason")
    assert job.committed_shards() == {1}
    assert job.commit_of(0) is None
    second = replace(first, attempt="e0002-b-0")
    assert job.commit(second) == second
    job.void(first, "late")
    assert job.commit_of(0) == second
    assert job.commit(first) == second
    assert audit(job, thorough=False).commits[0] == second


# --- lives ---


def test_a_late_write_of_another_job_does_not_hold_this_one(job: JobStore, tmp_path: Path) -> None:
    """It comes from an attempt that had looked just before its place was emptied."""
    late = {path: path.read_bytes() for path in (tmp_path / "out/_job/commits").iterdir()}
    store = open_store(job.uri)
    for found in list(store.list("")):
        store.delete(found.key)
    other = planned_job(rows(6), root=str(tmp_path), shard_rows=3, token="2e")
    for path, content in late.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert other.commits() == {}
    with pytest.raises(JobGone):
        job.request_stop(Stop(StopState.CANCELLED, "late", AT))

    assert run_again(other) == [0, 1]
    assert ids(JobStore.open(job.uri)) == [f"r{n}" for n in range(6)]


def test_who_still_looks_at_a_job_whose_place_another_one_has_is_told_so(job: JobStore, tmp_path: Path) -> None:
    """And not to delete what is the other one's."""
    store = open_store(job.uri)
    for found in list(store.list("")):
        store.delete(found.key)
    other = planned_job(rows(3), root=str(tmp_path), shard_rows=3, token="2e")
    run_again(other)
    close(other)
    other.request_stop(Stop(StopState.CANCELLED, "stopped", AT))
    for look in (job.stop, job.manifest, lambda: job.record(FakeClock().now())):
        with pytest.raises(JobGone, match="was emptied, or given to another job"):
            look()


@pytest.mark.parametrize("left", [layout.commit(0), layout.PLAN, layout.MANIFEST, layout.STOP, layout.epoch(1)])
def test_what_another_job_left_is_refused_by_name_before_a_job_begins(left: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.create(left, b'{"format":1}')
    with pytest.raises(UsageError, match=f"{left} is left of another job"):
        JobStore(store).create_spec(make_spec(token="1f"))
    assert [found.key for found in store.list("")] == [left]


def test_the_rest_of_a_probe_that_died_is_nobodys(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.create(f"{layout.PROBE_PREFIX}probe-1", b"first 1")
    JobStore(store).create_spec(make_spec(token="1f"))


def test_records_of_a_job_without_a_token_are_read_and_written_as_they_were(tmp_path: Path) -> None:
    job = planned_job(rows(3), root=str(tmp_path))
    claim(job, HOLDER, clock=FakeClock())
    run_job(job, ScriptedEngine())
    stored = orjson.loads((tmp_path / "out" / layout.commit(0)).read_bytes())
    assert "life" not in stored
    assert JobStore.open(job.uri).commit_of(0) == job.commit_of(0)


# --- damaged objects ---


def test_damaged_advisory_objects_count_as_absent(job: JobStore) -> None:
    job.report_engine(EngineReport(1, "a", Phase.RUNNING))
    job.record_crash(Crash(1, "a", ("0:1",)))
    store = open_store(job.uri)
    for key in (layout.heartbeat(1), layout.engine_report(1, "a"), layout.crash(1, "a"), layout.segment(1, "a", 0)):
        store.put(key, b"\xff\x00 garbled")
    reader = JobStore.open(job.uri)
    assert reader.heartbeat(1) is None
    assert (reader.engine_reports(1), reader.crashes(), list(reader.journal())) == ([], [], [])
    assert reader.facts().heartbeat is None


@pytest.mark.parametrize(
    ("key", "cure"),
    [
        (layout.PLAN, "delete the whole output and start again"),
        (layout.STOP, "delete it, and stop the job again"),
        (layout.MANIFEST, "run the job again with another output"),
    ],
)
@pytest.mark.parametrize("content", [b"{cut", b"[]", b'{"format":1}'])
def test_of_a_damaged_object_that_is_needed_name_and_cure_are_told(
    key: str, cure: str, content: bytes, tmp_path: Path
) -> None:
    job = planned_job(rows(3), root=str(tmp_path))
    open_store(job.uri).put(key, content)
    reader = JobStore.open(job.uri)
    with pytest.raises(CorruptRecord, match=f"out/{key}: .*{cure}") as caught:
        {layout.PLAN: reader.plan, layout.STOP: reader.stop, layout.MANIFEST: reader.manifest}[key]()
    assert not caught.value.resumable


@pytest.mark.parametrize("key", [layout.PLAN, layout.STOP, layout.MANIFEST])
def test_of_another_jobs_object_that_is_needed_name_and_cure_are_told(key: str, tmp_path: Path) -> None:
    job = planned_job(rows(3), root=str(tmp_path), token="1f")
    open_store(job.uri).put(key, b'{"life": "another",\n"format":1}')
    reader = JobStore.open(job.uri)
    with pytest.raises(ForeignRecord, match=f"{key} belongs to another job .* delete it, and give the same command"):
        {layout.PLAN: reader.plan, layout.STOP: reader.stop, layout.MANIFEST: reader.manifest}[key]()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("succeeded", 5, "lines, but blank, succeeded and failed make"),
        ("lines", 7, "lines, but blank, succeeded and failed make"),
        ("failed_by_code", {"timeout": 1}, "0 failed, but the codes make 1"),
        ("results", [], "6 succeeded, but the parts of results make 0"),
        ("inputs", [], "6 lines, but the inputs' lines make 0"),
    ],
)
def test_a_ledger_that_does_not_add_up_is_not_read(field: str, value: object, said: str, job: JobStore) -> None:
    close(job)
    store = open_store(job.uri)
    stored = orjson.loads(store.get(layout.MANIFEST))
    store.put(layout.MANIFEST, orjson.dumps(stored | {field: value}))
    with pytest.raises((CorruptRecord, ForeignRecord)):
        JobStore.open(job.uri).manifest()
    life = stored.pop("life")
    store.put(layout.MANIFEST, b'{"life": "%b",\n' % life.encode() + orjson.dumps(stored | {field: value})[1:])
    with pytest.raises(CorruptRecord, match=said):
        list(JobStore.open(job.uri).lines("results"))


@pytest.mark.parametrize("key", ["../x.jsonl", "results/../../x.jsonl", "errors/part-0.jsonl", None])
def test_a_ledger_whose_keys_are_no_parts_of_it_is_not_read(key: str | None, tmp_path: Path) -> None:
    job = planned_job(rows(6), root=str(tmp_path), shard_rows=3)
    claim(job, HOLDER, clock=FakeClock())
    run_job(job, ScriptedEngine())
    close(job)
    store = open_store(job.uri)
    stored = orjson.loads(store.get(layout.MANIFEST))
    stored["results"][1]["key"] = key or stored["results"][0]["key"]
    store.put(layout.MANIFEST, orjson.dumps(stored))
    with pytest.raises(CorruptRecord, match="is no part under results/" if key else "is named twice"):
        list(JobStore.open(job.uri).lines("results"))


def test_a_part_with_fewer_lines_than_the_ledger_counts_is_told(tmp_path: Path) -> None:
    job = planned_job(rows(3), root=str(tmp_path))
    claim(job, HOLDER, clock=FakeClock())
    run_job(job, ScriptedEngine())
    close(job)
    store = open_store(job.uri)
    stored = orjson.loads(store.get(layout.MANIFEST))
    part = stored["results"][0]
    content = b"".join(store.get(part["key"]).splitlines(keepends=True)[:2])
    store.put(part["key"], content)
    part |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    store.put(layout.MANIFEST, orjson.dumps(stored))
    with pytest.raises(JobFailed, match="it holds 2 lines, the ledger counts 3"):
        list(JobStore.open(job.uri).lines("results"))
