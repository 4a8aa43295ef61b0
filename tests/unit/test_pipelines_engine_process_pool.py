"""An engine actor and its host, without Ray: shards in, receipts out, errors told; no host outlives its actor."""

import asyncio
import os
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
import uvloop
from answer_server import AnswerServer
from attempts import check_gone
from engines import ids, planned_job, rows
from jobs import CREATED_AT, HOLDER, make_spec
from processes import Process, descendants
from terminal import wait_until

from batch import layout
from batch.errors import JobFailed, UsageError
from batch.jobs.store import JobStore
from batch.records.objects import Commit, Epoch
from connectors.stores.registry import open_store
from pipelines.cluster.actor import EngineActor
from pipelines.engine_process import pool
from pipelines.engine_process.pool import Pool, PoolAddress
from pipelines.engine_process.process import PRESTARTED_TITLE, _readable
from pipelines.engine_process.service import TITLE, Assignment
from pipelines.shards.journal import read_past

GONE_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def hosts() -> PoolAddress:
    pool.import_libraries(make_spec(engine="echo").engine_config)
    return Pool().address


@pytest.fixture
def withholding() -> Iterator[AnswerServer]:
    with AnswerServer(holds="number 399".__eq__) as server:
        yield server


def assignment(job: JobStore, *first: int) -> Assignment:
    claim = Epoch(1, HOLDER, CREATED_AT)
    assert job.create_epoch(claim)
    config = job.spec().engine_config
    return Assignment(job.uri, claim, config, replicas=1, group=job.uri, world_size=1, rows=3, first=first)


def ask(actor: EngineActor, shard: int) -> dict[str, list[object]]:
    async def asking() -> dict[str, list[object]]:
        return await actor(pa.table({"shard": [shard]}))

    return asyncio.run(asking())


def commits(job: JobStore, number: int) -> dict[int, Commit]:
    """Those of the job when there are so many."""
    give_up_at = time.monotonic() + GONE_WITHIN_S
    while len(job.commits()) < number and time.monotonic() < give_up_at:
        time.sleep(0.02)
    return job.commits()


def job_with_a_row_withheld(folder: Path, server: AnswerServer) -> JobStore:
    """A shard of 400 rows that cannot be committed: the answer to the last one does not come."""
    prompts = [{"custom_id": f"row-{n}", "prompt": f"number {n}"} for n in range(400)]
    return planned_job(prompts, root=str(folder), engine="openai", engine_args={"base_url": server.base_url})


def await_answers(job: JobStore) -> None:
    """Until all rows of the first shard but the one withheld have theirs."""
    wait_until(
        lambda: [report for report in job.engine_reports(1) if report.open and report.open["0"].rows == 399], "answers"
    )


def hosts_alive() -> list[Process]:
    return [process for process in descendants(os.getpid()) if process.command.startswith(TITLE)]


def test_a_shard_that_was_asked_for_is_committed_and_its_receipt_comes_back(hosts: PoolAddress, tmp_path: Path) -> None:
    job = planned_job(rows(3), root=str(tmp_path), engine="echo")

    receipt = ask(EngineActor(assignment(job), hosts), 0)

    assert (receipt["shard"], receipt["succeeded"], receipt["failed"]) == ([0], [3], [0])
    assert (receipt["engine"], receipt["engine_version"]) == (["echo"], ["1"])
    assert set(job.commits()) == {0}
    assert ids(job) == ["r0", "r1", "r2"]


def test_a_host_begins_with_its_first_shards_unasked_and_gives_their_receipts_when_asked(
    hosts: PoolAddress, tmp_path: Path
) -> None:
    job = planned_job(rows(600), root=str(tmp_path), engine="echo")
    actor = EngineActor(assignment(job, 0, 1), hosts)
    before = commits(job, 2)

    receipts = [ask(actor, shard) for shard in (1, 0)]

    assert [receipt["shard"] for receipt in receipts] == [[1], [0]]
    assert set(before) == {0, 1}
    assert job.commits() == before


@pytest.mark.usefixtures("hosts")
def test_a_prestarted_host_begins_before_there_is_an_actor_and_is_the_first_ones(tmp_path: Path) -> None:
    job = planned_job(rows(600), root=str(tmp_path), engine="echo")
    earlier = {process.pid for process in hosts_alive()}
    own = Pool()
    hosts = own.address
    own.prestart(assignment(job, 0, 1))
    before = commits(job, 2)
    (alone,) = [process.command for process in hosts_alive() if process.pid not in earlier]

    actor = EngineActor(assignment(job, 0, 1), hosts)
    receipts = [ask(actor, shard) for shard in (0, 1)]

    assert [receipt["shard"] for receipt in receipts] == [[0], [1]]
    assert set(before) == {0, 1}
    assert job.commits() == before
    (asked,) = [process.command for process in hosts_alive() if process.pid not in earlier]
    assert (alone, asked) == (PRESTARTED_TITLE, TITLE)


@pytest.mark.usefixtures("hosts")
def test_when_a_prestarted_host_has_died_its_actor_is_told_and_the_next_one_gets_another(tmp_path: Path) -> None:
    job = planned_job(rows(3), root=str(tmp_path), engine="echo")
    earlier = {process.pid for process in hosts_alive()}
    own = Pool()
    hosts = own.address
    own.prestart(assignment(job, 0))
    commits(job, 1)
    (host,) = [process for process in hosts_alive() if process.pid not in earlier]
    host.kill()

    with pool.ask(hosts, assignment(job)) as connection, pytest.raises(EOFError):
        connection.recv()

    assert ask(EngineActor(assignment(job), hosts), 0)["succeeded"] == [3]


def test_a_host_has_the_environment_of_its_actor(
    hosts: PoolAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planned_job(rows(3), root=str(tmp_path), engine="echo", engine_args={"gpus": 1})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")

    receipt = ask(EngineActor(assignment(job), hosts), 0)

    assert orjson.loads(str(receipt["engine_config"][0]))["gpus"] == "7"


def test_what_keeps_an_engine_from_starting_is_told(hosts: PoolAddress, tmp_path: Path) -> None:
    job = planned_job(rows(1), root=str(tmp_path), engine="abacus")

    with pytest.raises(UsageError, match="'abacus': expected one of"):
        ask(EngineActor(assignment(job), hosts), 0)


def test_an_error_that_is_none_of_ours_is_told_by_its_name(hosts: PoolAddress, tmp_path: Path) -> None:
    job = planned_job(rows(3), root=str(tmp_path), engine="echo")
    open_store(job.uri).delete(layout.PLAN)

    with pytest.raises(JobFailed, match=r"ValueError: .* the job has no plan yet"):
        ask(EngineActor(assignment(job), hosts), 0)


def test_a_host_whose_actor_is_gone_keeps_what_it_has_answered(
    hosts: PoolAddress, tmp_path: Path, withholding: AnswerServer
) -> None:
    job = job_with_a_row_withheld(tmp_path, withholding)
    before = {process.pid for process in hosts_alive()}
    connection = pool.ask(hosts, assignment(job))
    connection.send(0)
    await_answers(job)

    connection.close()

    check_gone(lambda: [process for process in hosts_alive() if process.pid not in before], GONE_WITHIN_S)
    assert len(read_past(job).answers) == 399


@pytest.mark.usefixtures("hosts")
def test_a_prestarted_host_that_is_dismissed_keeps_what_it_has_answered(
    tmp_path: Path, withholding: AnswerServer
) -> None:
    job = job_with_a_row_withheld(tmp_path, withholding)
    before = {process.pid for process in hosts_alive()}
    prestarted = Pool().prestart(assignment(job, 0))
    await_answers(job)

    prestarted.dismiss()

    check_gone(lambda: [process for process in hosts_alive() if process.pid not in before], GONE_WITHIN_S)
    assert len(read_past(job).answers) == 399


@pytest.mark.usefixtures("hosts")
def test_a_prestarted_process_that_is_dismissed_before_it_is_there_ends_when_it_is(tmp_path: Path) -> None:
    job = planned_job(rows(3), root=str(tmp_path), engine="echo")
    before = {process.pid for process in descendants(os.getpid())}
    prestarted = Pool().prestart(assignment(job, 0))

    prestarted.dismiss()

    assert prestarted.take() is None
    # By its pid: it may have no name yet.
    check_gone(lambda: [each for each in descendants(os.getpid()) if each.pid not in before], GONE_WITHIN_S)


def test_a_host_ends_with_the_connection_of_its_actor(hosts: PoolAddress, tmp_path: Path) -> None:
    job = planned_job(rows(3), root=str(tmp_path), engine="echo")
    before = {process.pid for process in hosts_alive()}
    connection = pool.ask(hosts, assignment(job))
    connection.send(0)
    assert connection.recv()[0] == 0
    (host,) = [process for process in hosts_alive() if process.pid not in before]

    connection.close()

    check_gone(lambda: [host] if host.is_alive else [], GONE_WITHIN_S)


def test_a_parked_process_waits_for_both_pieces_of_what_it_is_handed() -> None:
    """An assignment and its connection are sent one after the other; the loop leaves descriptors that do not wait."""
    pool_side, process_side = Pipe()

    async def park() -> None:
        pool_side.send(b"an assignment")
        await _readable(process_side)

    uvloop.run(park())

    assert process_side.recv() == b"an assignment"
    assert os.get_blocking(process_side.fileno())
