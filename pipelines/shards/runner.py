"""One engine and the shards it works on: read, answer row by row, write, commit.

Rows of several shards share one admission window, so that a finished row is replaced at once and the engine
never drains at a shard's end. Results go from here straight to the store. Knows nothing of Ray.
"""

import asyncio
import logging
import traceback
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any

import orjson

from batch.errors import BatchError
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.planning.prefixes import WINDOW_ROWS
from batch.planning.shard_rows import read_rows
from batch.planning.shards import Shard
from batch.records.objects import Commit, Crash, EngineReport, Stop
from batch.result import Code, Result, RowFailure, Usage, sentence
from batch.rows.columns import needed_columns
from batch.rows.request import Decoder, Request
from connectors.datasets.reader import PieceReader
from connectors.errors import StoreError
from connectors.stores.retry import retries
from pipelines.engines.base import Answer, Engine, EngineDead, load_of
from pipelines.engines.retries import settled
from pipelines.shards.admission import KILLS_TO_CONVICT, Admission
from pipelines.shards.crash_blame import CrashBlame, RowPlace
from pipelines.shards.dedup import SharedAnswers
from pipelines.shards.journal import NO_PAST, Past, encode_segment
from pipelines.shards.open_shard import OpenShard, commit_shard
from pipelines.shards.priority import beginning, is_apart, rank
from pipelines.shards.row_timeout import Patience
from pipelines.shards.start_gate import StartGate

logger = logging.getLogger(__name__)

TARGET_OPEN_ROWS = WINDOW_ROWS
"""Rows that the open shards of one engine should hold together: twice as many as should be sorted at a time, so that
one half is in line while the other is answered, and each more than any admission window. Those of the first rows get
their prompts while the engine loads."""
WORTH_KEEPING_TOGETHER = 0.03
"""The share of a file's prompts that its rows must have in common to be kept together rather than asked by length."""
ROWS_AT_A_TIME = 32
"""Rows that are decoded between two turns of the loop: a millisecond. Each turn costs as much as a row or two."""

ENGINES_WITH_LIMITS = frozenset({"openai"})
"""They end a request themselves that takes too long."""


@dataclass(slots=True)
class InFlight:
    """A row that an engine was asked for by `task`, since so long by the clock of `Patience`."""

    request: Request
    task: asyncio.Task[None]
    since_s: float
    is_overdue: bool = False


class ShardRunner:
    """Runs shards concurrently on one engine. All methods belong to one event loop.

    `past`: what earlier engines of the job left behind. `replicas`: engines that share the job.
    """

    def __init__(
        self,
        job: JobStore,
        starting: Awaitable[Engine],
        *,
        epoch: int,
        name: str,
        past: Past = NO_PAST,
        replicas: int = 1,
    ) -> None:
        plan = job.plan()
        if plan is None:
            raise ValueError(f"{job.uri}: the job has no plan yet")
        self._job = job
        self._spec = job.spec()
        self._plan = plan
        self._end = plan.end(replicas * TARGET_OPEN_ROWS)
        self._epoch = epoch
        self._name = name
        self._past = past
        self._decoder = Decoder(self._spec)
        self._needs_engine = asyncio.Event()
        self._reader = PieceReader(max_line_bytes=self._spec.max_line_bytes, columns=needed_columns(self._spec))
        self._engine = asyncio.ensure_future(starting)
        self._admission = Admission(past.unexplained_deaths)
        self._shared = SharedAnswers()
        self._gate = StartGate()
        self._opening = asyncio.ensure_future(
            self._gate.open(self._admission, self._engine, unexplained_deaths=past.unexplained_deaths)
        )
        self._reading = asyncio.Lock()
        self._has_admitted = False
        self._stop: Stop | None = None
        self._stopping = asyncio.Event()
        self._open_rows: set[asyncio.Task[None]] = set()
        self._in_line: dict[RowPlace, Request] = {}
        self._in_flight: dict[RowPlace, InFlight] = {}
        self._patience = Patience()
        self._lining_up = asyncio.Lock()
        self._open: dict[int, OpenShard] = {}
        self._tries = count()  # a shard tried twice must not meet its own part
        self._blame = CrashBlame(past, shares_answers=self._spec.deduplicate)
        self._segments = count()
        self._faults: set[type[Exception]] = set()

    async def run(self, index: int) -> Commit:
        """Answer every row of a shard and commit it; a shard that has a commit is left as it is.

        Raises EngineDead, InputChanged, StoreError, or what kept the engine from starting.
        """
        self._gate.arrives(index)
        opened: OpenShard | Commit | None = None
        try:
            opened = await self._read(self._plan.shards[index])
        finally:
            if not isinstance(opened, OpenShard):  # it will not come into the line
                self._gate.arrived(index)
        if isinstance(opened, Commit):
            return opened
        answering = asyncio.ensure_future(self._answer_rows(opened))  # in line, and in order, when the engine is up
        try:
            await self._ready(answering)
        except BaseException:
            answering.cancel()
            raise
        await answering
        attempt = f"e{self._epoch:04d}-{self._name}-{next(self._tries)}"
        commit = await asyncio.to_thread(
            commit_shard, self._job, self._spec, opened, epoch=self._epoch, attempt=attempt
        )
        del self._open[index]
        return commit

    def stop(self, stop: Stop) -> None:
        """Answer no further row: those in flight and those to come end with the code of the first `stop`."""
        if self._stop is not None:
            return
        self._stop = stop
        self._stopping.set()
        for task in self._open_rows:
            task.cancel()

    def end_overdue(self, now_s: float) -> None:
        """End the rows that the engine has had for too long, where the job sets no limit; to be called each second."""
        self._patience.look(now_s)
        if self._spec.row_timeout_s is not None or self._spec.engine in ENGINES_WITH_LIMITS:
            return
        for asked in self._in_flight.values():
            if not asked.is_overdue and self._patience.is_over(asked.since_s):
                asked.is_overdue = True
                asked.task.cancel()

    def report(self) -> EngineReport:
        """What the engine is doing, and the rows answered so far in shards that have no commit yet."""
        engine = self._engine.result() if self._engine.done() and self._engine.exception() is None else None
        return EngineReport(
            self._epoch,
            self._name,
            phase=Phase.RUNNING if engine is not None else Phase.STARTING_ENGINE,
            open={str(i): opened.tally() for i, opened in self._open.items()},
            retries=retries(),
            in_flight=len(self._in_flight),
            in_line=len(self._in_line),
            load=load_of(engine),
        )

    def waiting(self) -> list[Request]:
        """The requests in line, those first that came first; equal ones, of which one will be asked, but once."""
        return list(self._in_line.values())

    async def needs_engine(self) -> None:
        """Wait until a row is in line for an engine: where all rows are bad lines, none ever is."""
        await self._needs_engine.wait()

    async def keep_answers(self) -> None:
        """Put the answers of open shards that the journal lacks into it; what it does not take, the next try does."""
        unkept = [(opened, opened.unkept.copy()) for opened in self._open.values()]
        kept = [answer for opened, answers in unkept for answer in opened.for_journal(answers)]
        if kept:
            segment = await asyncio.to_thread(encode_segment, kept)
            await asyncio.to_thread(self._job.keep_answers, self._epoch, self._name, next(self._segments), segment)
        for opened, answers in unkept:
            opened.were_kept(answers)

    async def record_death(self) -> None:
        """Leave to the next engine of these shards what this one had answered, and which rows it died with."""
        await self.keep_answers()
        if self._blame.died_with:
            await asyncio.to_thread(self._job.record_crash, Crash(self._epoch, self._name, self._blame.died_with))

    async def close(self) -> None:
        """Let go of the engine: no row is asked any more. What is neither kept nor committed by now is lost."""
        tasks: list[asyncio.Future[Any]] = [self._engine, self._opening, *self._open_rows]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def engine_identity(self) -> tuple[str, str, dict[str, object]]:
        """The engine's name, version and load-time configuration; empty when it never came up."""
        if not self._engine.done() or self._engine.exception() is not None:
            return (self._spec.engine, "", {})
        engine = self._engine.result()
        return (engine.name, engine.version, engine.config)

    # --- one shard ---

    async def _read(self, shard: Shard) -> OpenShard | Commit:
        """Return a shard with its rows, or the commit that it has already."""
        standing = await asyncio.to_thread(self._job.commit_of, shard.index)
        if standing is not None:
            return standing
        async with self._reading:  # the reader keeps one cursor per file: pieces in order, one pass
            rows = await asyncio.to_thread(read_rows, self._plan, shard, self._reader)
        return OpenShard(shard, rows, [None] * len(rows))

    async def _ready(self, answering: asyncio.Future[None]) -> None:
        """Wait until the engine is up, the job is stopped, or no row of the shard needed an engine.

        Raises what kept the engine from starting.
        """
        stopping = asyncio.ensure_future(self._stopping.wait())
        events: set[asyncio.Future[Any]] = {self._engine, stopping, answering}
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._stop is None and not answering.done():
            self._engine.result()

    async def _answer_rows(self, opened: OpenShard) -> None:
        self._open[opened.shard.index] = opened
        async with asyncio.TaskGroup() as answering, self._lining_up:
            for row, read in enumerate(opened.rows):
                request = self._decoder.decode(read.file, read.line, duplicate=read.is_repeat)
                if isinstance(request, RowFailure):
                    opened.settle(row, request)
                    continue
                answering.create_task(self._answer_row(opened, row, request))
                if row % ROWS_AT_A_TIME == 0:
                    await asyncio.sleep(0)  # the rows in flight come first
            self._gate.arrived(opened.shard.index)

    def _without_engine(self, opened: OpenShard, row: int, request: Request) -> Result | None:
        """The result of a row that no engine need be asked for; None for any other. What was answered stays so."""
        read = opened.rows[row]
        answer = self._past.answer(opened.shard.index, read)
        deaths = self._blame.deaths((opened.shard.index, read.number), request)
        if answer is None and deaths >= KILLS_TO_CONVICT:
            answer = _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, Code.ENGINE_CRASH, f"{deaths} engines died of this row")
        if answer is not None:
            return opened.result_of(row, request, answer)
        return None if self._stop is None else opened.stopped(row, request, self._stop)

    def _note_first(self) -> None:
        if not self._has_admitted:
            self._has_admitted = True
            logger.info("first row admitted")

    def _note_fault(self, error: Exception) -> None:
        """Tell the log where a fault of ours came up, once for each kind; what it says may hold a row's text."""
        if type(error) not in self._faults:
            self._faults.add(type(error))
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("%s ended a row, whose error line says more; at\n%s", type(error).__name__, frames)

    async def _answer_row(self, opened: OpenShard, row: int, request: Request) -> None:
        this_task = _this_task()
        self._open_rows.add(this_task)  # here, since a task that is cancelled before its first step runs nothing
        try:
            result = await self._result(opened, row, request)
        except asyncio.CancelledError:
            if self._stop is None:
                raise
            result = opened.stopped(row, request, self._stop)
        except (EngineDead, BatchError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a row meets on its way, it may not end the job
            self._note_fault(error)
            fault = _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, Code.INTERNAL, sentence(error))
            result = opened.result_of(row, request, fault)
        finally:
            self._open_rows.discard(this_task)
        opened.settle(row, result)

    async def _result(self, opened: OpenShard, row: int, request: Request) -> Result:
        known = self._without_engine(opened, row, request)
        if known is not None:
            return known
        read = opened.rows[row]
        ask = partial(self._ask_in_turn, (opened.shard.index, read.number), read.input)
        answer = await (self._shared.answer(request, ask) if self._spec.deduplicate else ask(request))
        opened.unkept[row] = answer
        return opened.result_of(row, request, answer)

    async def _ask_in_turn(self, place: RowPlace, of_input: int, request: Request) -> Answer:
        shard, _ = place
        deaths = self._blame.deaths(place, request)
        begins = beginning(request) if self._spec.order_by_prefix else b""
        share_prefix = self._plan.inputs[of_input].alike >= WORTH_KEEPING_TOGETHER
        place_in_line = rank(request, at_end=shard >= self._end, share_prefix=share_prefix)
        self._in_line[place] = request
        self._needs_engine.set()
        try:
            await self._admission.enter(begins, deaths, rank=place_in_line, apart=is_apart(request))
        finally:
            del self._in_line[place]
        self._note_first()
        asked = self._in_flight[place] = InFlight(request, _this_task(), self._patience.clock_s)
        try:
            async with self._row_limit():
                answer = await self._ask(request)
        except TimeoutError:
            return _timeout(f"no answer within {self._spec.row_timeout_s:g} s (--row-timeout)")
        except asyncio.CancelledError:
            if not asked.is_overdue or asked.task.uncancel() > 0:  # others want the row to end, too
                raise
            return _timeout(
                f"no answer within {self._patience.limit_s:g} s, ten times as long as any answered row took and at "
                "least 10 minutes; --row-timeout sets another limit"
            )
        except EngineDead:
            self._admission.close()
            self._blame.note_death({place: asked.request for place, asked in self._in_flight.items()})
            raise
        finally:
            del self._in_flight[place]
            self._admission.leave()
        if answer.code is None:  # a refusal says nothing of how long an answer takes
            self._patience.answered(asked.since_s)
        return answer

    def _row_limit(self) -> AbstractAsyncContextManager[object]:
        """What ends a row past its time; without such a limit nothing, which takes a tenth of `asyncio.timeout`."""
        limit_s = self._spec.row_timeout_s
        return nullcontext() if limit_s is None else asyncio.timeout(limit_s)

    async def _ask(self, request: Request) -> Answer:
        return await settled(partial(self._engine.result().answer, request))


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _timeout(message: str) -> Answer:
    return _refusal(HTTPStatus.GATEWAY_TIMEOUT, Code.TIMEOUT, message)


def _refusal(status: HTTPStatus, code: Code, message: str) -> Answer:
    error = {"message": message, "type": code, "param": None, "code": status}
    return Answer(status, orjson.dumps({"error": error}), Usage(), code)
