"""When a replica needs its engine, and what the two tell of how far they are."""

from engines import planned_job, run_shards
from fast_loop import run_fast

from batch.records.objects import Commit
from pipelines.engines.base import Engine
from pipelines.shards.runner import ShardRunner


def test_rows_that_cannot_reach_an_engine_wait_for_none() -> None:
    job = planned_job([b"not json", b'{"custom_id": "a", "body": {"model": "other", "messages": []}}'])
    replicas: list[ShardRunner] = []

    async def when_needed() -> Engine:
        await replicas[0].needs_engine()
        raise AssertionError("no row needs an engine")

    async def run() -> list[Commit]:
        replicas.append(ShardRunner(job, when_needed(), epoch=1, name="a"))
        commits = await run_shards(job, replicas[0])
        assert replicas[0].engine_identity() == ("echo", "", {})
        return commits

    (commit,) = run_fast(run())

    assert commit.failed_by_code == {"malformed_json": 1, "model_mismatch": 1}
