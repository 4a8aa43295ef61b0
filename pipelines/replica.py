"""One engine and the shards it works on: read, answer row by row, write, commit.

Rows of several shards share one admission window, so that a finished row is replaced at once and the engine
never drains at a shard's end. Results go from here straight to the store. Knows nothing of Ray.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import count

import orjson

from batch.errors import InputChanged
from batch.job_store import JobStore
from batch.plan import Shard
from batch.records import Commit, EngineReport, Stop, StopState, Tally
from batch.request import Decoder, Request
from batch.result import Code, Place, Result, RowFailure, Success, Usage, encode_result, row_id
from batch.state import RUNNING_PHASE
from connectors.errors import Changed
from connectors.inputs import InputFile, PieceReader
from connectors.lines import Line
from pipelines.engines.base import Answer, Engine

logger = logging.getLogger(__name__)

STARTING_PHASE = "starting engine"
TRANSIENT_RETRY_DELAYS_S = (0.5, 2.0)

_STOPPED = {
    StopState.CANCELLED: (Code.CANCELLED, "the job was cancelled before this row was answered"),
    StopState.EXPIRED: (Code.EXPIRED, "the job reached its deadline before this row was answered"),
    StopState.FAILED: (Code.CANCELLED, "the job ended before this row was answered: too many rows had failed"),
}


@dataclass(slots=True)
class OpenShard:
    """A shard whose rows are being answered: one place per non-blank line, in input order."""

    shard: Shard
    file: str
    rows: list[Line]
    results: list[Result | None] = field(default_factory=list)

    def place(self, row: int) -> Place:
        line = self.rows[row]
        return Place(self.file, line.number, line.offset)


class Replica:
    """Runs shards concurrently on one engine. All methods belong to one event loop."""

    def __init__(self, job: JobStore, starting: Awaitable[Engine], *, epoch: int, name: str) -> None:
        plan = job.plan()
        if plan is None:
            raise ValueError(f"{job.uri}: the job has no plan yet")
        self._job = job
        self._spec = job.spec()
        self._plan = plan
        self._epoch = epoch
        self._name = name
        self._decoder = Decoder(self._spec)
        self._reader = PieceReader(max_line_bytes=self._spec.max_line_bytes)
        self._engine = asyncio.ensure_future(starting)
        self._window = asyncio.Semaphore(0)
        self._engine.add_done_callback(self._open_window)
        self._reading = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._has_admitted = False
        self._stop: Stop | None = None
        self._stopping = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._tallies: dict[int, Tally] = {}
        self._tries = count()  # a shard tried twice must not meet its own part

    async def run(self, index: int) -> Commit:
        """Answer every row of a shard and commit it; a shard that has a commit is left as it is.

        Raises EngineDead, InputChanged, StoreError, or what kept the engine from starting.
        """
        standing = await asyncio.to_thread(self._job.commit_of, index)
        if standing is not None:
            return standing
        shard = self._plan.shards[index]
        opened = await self._read(shard)
        await self._ready()
        await self._answer_rows(opened)
        commit = await asyncio.to_thread(self._commit, opened)
        self._tallies.pop(index, None)
        return commit

    def stop(self, stop: Stop) -> None:
        """Answer no further row: those in flight and those to come end with the code of the first `stop`."""
        if self._stop is not None:
            return
        self._stop = stop
        self._stopping.set()
        for task in self._in_flight:
            task.cancel()

    def report(self) -> EngineReport:
        """What the engine is doing, and the rows answered so far in shards that have no commit yet."""
        is_ready = self._engine.done() and self._engine.exception() is None
        phase = RUNNING_PHASE if is_ready else STARTING_PHASE
        return EngineReport(self._epoch, self._name, phase, {str(i): tally for i, tally in self._tallies.items()})

    def engine_identity(self) -> tuple[str, str, dict[str, object]]:
        """The engine's name, version and load-time configuration; empty when it never came up."""
        if not self._engine.done() or self._engine.exception() is not None:
            return (self._spec.engine, "", {})
        engine = self._engine.result()
        return (engine.name, engine.version, engine.config)

    # --- one shard ---

    async def _read(self, shard: Shard) -> OpenShard:
        planned = self._plan.inputs[shard.input]
        file = InputFile(planned.uri, planned.size_bytes, planned.etag, planned.format)
        try:
            async with self._reading:  # the reader keeps one cursor per file: pieces in order, one pass
                lines = await asyncio.to_thread(self._reader.read, file, shard.piece)
        except Changed as error:
            raise InputChanged(f"{planned.uri} changed after the job was planned ({error}); start a new job") from error
        rows = [line for line in lines if not line.is_blank]
        return OpenShard(shard, planned.uri, rows, [None] * len(rows))

    async def _ready(self) -> None:
        """Wait until the engine is up or the job is stopped. Raises what kept the engine from starting."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({self._engine, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._stop is None:
            self._engine.result()

    async def _answer_rows(self, opened: OpenShard) -> None:
        duplicates = frozenset(opened.shard.duplicates)
        self._tallies[opened.shard.index] = Tally()
        async with asyncio.TaskGroup() as answering, self._turn:
            for row, line in enumerate(opened.rows):
                request = self._decoder.decode(opened.file, line, duplicate=line.number in duplicates)
                if isinstance(request, RowFailure):
                    self._settle(opened, row, request)
                    continue
                await self._admission()
                answering.create_task(self._answer_row(opened, row, request))

    async def _admission(self) -> None:
        if self._stop is None:
            await self._window.acquire()
        if not self._has_admitted:
            self._has_admitted = True
            logger.info("first row admitted")

    async def _answer_row(self, opened: OpenShard, row: int, request: Request) -> None:
        this_task = asyncio.current_task()
        assert this_task is not None
        self._in_flight.add(this_task)  # here, since a task that is cancelled before its first step runs nothing
        try:
            result = await self._result(opened, row, request)
        except asyncio.CancelledError:
            if self._stop is None:
                raise
            result = self._stopped(opened, row, request)
        finally:
            self._window.release()
            self._in_flight.discard(this_task)
        self._settle(opened, row, result)

    async def _result(self, opened: OpenShard, row: int, request: Request) -> Result:
        if self._stop is not None:
            return self._stopped(opened, row, request)
        answer = await self._ask(request)
        if answer.code is None:
            return Success(request.custom_id, answer.body, answer.usage, request.metadata)
        return RowFailure(
            request.custom_id,
            answer.code,
            _error_message(answer.body),
            opened.place(row),
            excerpt=opened.rows[row].raw[:256],
            status_code=answer.status_code,
            body=answer.body,
            metadata=request.metadata,
        )

    async def _ask(self, request: Request) -> Answer:
        engine = self._engine.result()
        for delay_s in TRANSIENT_RETRY_DELAYS_S:
            answer = await engine.answer(request)
            if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return answer
            await asyncio.sleep(delay_s)
        return await engine.answer(request)

    def _stopped(self, opened: OpenShard, row: int, request: Request) -> RowFailure:
        assert self._stop is not None
        code, message = _STOPPED[self._stop.state]
        excerpt = opened.rows[row].raw[:256]
        return RowFailure(request.custom_id, code, message, opened.place(row), excerpt, metadata=request.metadata)

    def _settle(self, opened: OpenShard, row: int, result: Result) -> None:
        opened.results[row] = result
        tally = self._tallies[opened.shard.index]
        if isinstance(result, Success):
            usage = result.usage
            self._tallies[opened.shard.index] = Tally(
                tally.succeeded + 1,
                tally.failed,
                tally.prompt_tokens + usage.prompt_tokens,
                tally.completion_tokens + usage.completion_tokens,
            )
        else:
            self._tallies[opened.shard.index] = Tally(
                tally.succeeded, tally.failed + 1, tally.prompt_tokens, tally.completion_tokens
            )

    def _commit(self, opened: OpenShard) -> Commit:
        """Write the shard's parts whole, then the commit that makes them its output."""
        succeeded: list[bytes] = []
        failed: list[bytes] = []
        codes: Counter[str] = Counter()
        usage = Usage()
        for line, result in zip(opened.rows, opened.results, strict=True):
            if result is None:
                raise RuntimeError(f"{opened.file}:{line.number}: the row has no result")
            encoded = encode_result(result, row_id(self._spec.job_id, opened.shard.input, line.number))
            if isinstance(result, Success):
                succeeded.append(encoded)
                usage += result.usage
            else:
                failed.append(encoded)
                codes[result.code] += 1
        index, attempt = opened.shard.index, f"e{self._epoch:04d}-{self._name}-{next(self._tries)}"
        write = partial(self._job.write_part, shard=index, attempt=attempt)
        results = write("results", lines=succeeded, part_format=self._spec.output_format) if succeeded else None
        errors = write("errors", lines=failed) if failed else None
        commit = Commit(index, self._epoch, attempt, results, errors, len(succeeded), dict(codes), usage)
        return self._job.commit(commit)

    def _open_window(self, engine: "asyncio.Future[Engine]") -> None:
        if engine.cancelled() or engine.exception() is not None:
            return
        for _ in range(engine.result().window):
            self._window.release()


def _error_message(body: bytes) -> str:
    """The message of an error as OpenAI writes it; of any other, all of it."""
    answered = orjson.loads(body)
    error = answered.get("error") if isinstance(answered, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return str(message or body.decode())
