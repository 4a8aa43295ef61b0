"""Small jobs for tests: specs, plans, commits, a clock that jumps, and a worker without Ray or an engine."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from batch.clock import Clock
from batch.jobs.lease import claim
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.planning.plan import Plan, PlannedInput
from batch.planning.shard_rows import read_rows
from batch.planning.shards import Shard, Span
from batch.records.manifest import EngineIdentity, Manifest
from batch.records.objects import Commit, Exit, Heartbeat, Holder, Part, Progress
from batch.records.parts import JSONL
from batch.result import Result, RowFailure, Success, Usage, encode_result, row_id
from batch.rows.request import Decoder
from batch.spec.job_spec import JobSpec
from connectors.datasets.reader import Piece, PieceReader
from pipelines.attempt.finalize import finalize

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CREATED_AT = "2026-01-31T11:00:00.000000Z"
ENGINE = EngineIdentity("echo", "1", {"delay_s": 0.5})
HOLDER = Holder("node-1", 4242, "100", "boot")


class FakeClock:
    """Sleeping moves it, and nothing else does."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def make_spec(job_id: str = "job-1", **changes: object) -> JobSpec:
    spec = JobSpec(
        job_id=job_id,
        inputs=("memory://inputs/a.jsonl",),
        output="memory://outputs/job-1",
        model="m",
        created_at=CREATED_AT,
        engine="echo",
    )
    return replace(spec, **changes)  # type: ignore[arg-type]  # the caller names fields of a JobSpec


def make_plan(rows: Sequence[int] = (3, 2), blank: int = 1) -> Plan:
    """One input, a shard for each number of rows, and blank lines at the end."""
    shards, line = [], 1
    for index, count in enumerate(rows):
        shards.append(Shard(index, (Span(0, Piece(line * 10, (line + count) * 10, line, count, count)),)))
        line += count
    lines = sum(rows) + blank
    return Plan((PlannedInput("memory://inputs/a.jsonl", 10 * lines, "etag", "jsonl", lines, blank),), tuple(shards))


def make_part(kind: str, shard: int, rows: int) -> Part:
    return Part(f"{kind}/part-{shard:05d}-a.jsonl", rows, 10 * rows, "0" * 64)


def make_commit(shard: int, succeeded: int, failed: int = 0, *, epoch: int = 1) -> Commit:
    return Commit(
        shard,
        epoch,
        f"e{epoch}",
        make_part("results", shard, succeeded) if succeeded else None,
        make_part("errors", shard, failed) if failed else None,
        succeeded,
        {"malformed_json": failed} if failed else {},
        Usage(10 * succeeded, 5 * succeeded, succeeded),
    )


def make_heartbeat(
    epoch: int = 1, beat: int = 1, *, at: str = "2026-01-31T11:59:59.000000Z", phase: Phase = Phase.RUNNING
) -> Heartbeat:
    return Heartbeat(epoch, beat, at, phase, Progress(rows_total=5, succeeded=2, failed=1))


@dataclass
class Worker:
    """One attempt at a job through the real protocol; its answers carry its name, so that mixing would show.

    `heeds_lease`: False makes it the worst zombie, which goes on whatever happens.
    """

    job: JobStore
    name: str
    clock: Clock
    heeds_lease: bool = True

    def run(self, spec: JobSpec, plan: Plan) -> Manifest | None:
        """The manifest, or None when the lease was lost."""
        self.job.create_spec(spec)
        standing = self.job.manifest()
        if standing is not None:
            return standing
        lease = claim(self.job, Holder(self.name, 1), clock=self.clock)
        plan = self.job.create_plan(plan)
        for shard in plan.shards:
            if shard.index in self.job.committed_shards():
                continue
            self._commit(spec, plan, shard, epoch=lease.epoch.number)
            if not lease.renew(Phase.RUNNING, Progress()) and self.heeds_lease:
                return None
        manifest = finalize(self.job, plan, epoch=lease.epoch.number, engine=ENGINE, clock=self.clock)
        lease.end(Exit.FINISHED, "")
        return manifest

    def _commit(self, spec: JobSpec, plan: Plan, shard: Shard, *, epoch: int) -> None:
        rows = read_rows(plan, shard, PieceReader(max_line_bytes=1000))
        decoded = [Decoder(spec).decode(row.file, row.line) for row in rows]
        results: list[Result] = [
            request if isinstance(request, RowFailure) else self._answer(request.custom_id) for request in decoded
        ]
        encoded = [
            encode_result(r, row_id(spec.job_id, 0, row.line.number)) for r, row in zip(results, rows, strict=True)
        ]
        good = [line for line, result in zip(encoded, results, strict=True) if isinstance(result, Success)]
        bad = [line for line, result in zip(encoded, results, strict=True) if isinstance(result, RowFailure)]
        codes = [result.code for result in results if isinstance(result, RowFailure)]
        attempt = f"e{epoch}-{self.name}"
        output = self.job.write_parts(shard.index, attempt=attempt, results=good, errors=bad, part_format=JSONL)
        self.job.commit(
            Commit(
                shard.index,
                epoch,
                attempt,
                next(iter(output.results), None),
                next(iter(output.errors), None),
                len(good),
                {code.value: codes.count(code) for code in codes},
                Usage(len(good), len(good)),
            )
        )

    def _answer(self, custom_id: str) -> Success:
        return Success(custom_id, orjson.dumps({"by": self.name}), Usage(1, 1))
