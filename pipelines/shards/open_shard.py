"""A shard while its rows are answered, and how it ends: two parts and a commit. Knows nothing of engines and time."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from batch.jobs.store import JobStore
from batch.planning.shard_rows import Row
from batch.planning.shards import Shard
from batch.records.objects import Commit, OutputParts, Stop, StopState, Tally
from batch.result import EXCERPT_BYTES, Code, Result, RowFailure, Success, Usage, encode_result, row_id, sentence
from batch.rows.request import Request
from batch.spec.job_spec import JobSpec
from batch.spec.parameters import Body, Problem
from pipelines.engines.base import Answer
from pipelines.engines.validation_errors import told_by_server
from pipelines.shards.journal import KeptAnswer, row_key

_STOPPED = {
    StopState.CANCELLED: (Code.CANCELLED, "the job was cancelled before this row was answered"),
    StopState.EXPIRED: (Code.EXPIRED, "the job reached its deadline before this row was answered"),
    StopState.FAILED: (Code.CANCELLED, "the job ended before this row was answered: too many rows had failed"),
}


@dataclass(slots=True)
class OpenShard:
    """One place per non-blank line, in input order; `row` counts those places from 0."""

    shard: Shard
    rows: list[Row]
    results: list[Result | None]
    unkept: dict[int, Answer] = field(default_factory=dict)
    """The answers, by row, that are not in the journal yet."""

    def settle(self, row: int, result: Result) -> None:
        """Take in the result of a row."""
        self.results[row] = result

    def answers(self) -> list[Success]:
        """The rows that were answered, so far."""
        return [result for result in self.results if isinstance(result, Success)]

    def usage(self) -> Usage:
        """What was computed for them together."""
        return sum((answer.usage for answer in self.answers()), Usage())

    def tally(self) -> Tally:
        """Count the results so far."""
        succeeded = len(self.answers())
        settled = len(self.results) - self.results.count(None)
        usage = self.usage()
        return Tally(succeeded, settled - succeeded, usage.prompt_tokens, usage.completion_tokens)

    def result_of(self, row: int, request: Request, answer: Answer) -> Result:
        """What an answer makes of a row."""
        if answer.code is None:
            return Success(request.custom_id, answer.body, answer.usage, request.metadata, answer.is_copy)
        return self._failure(row, request, answer.code, _problem(answer.body, request.body), answer)

    def stopped(self, row: int, request: Request, stop: Stop) -> RowFailure:
        """What becomes of a row that was not answered before the job was stopped."""
        code, message = _STOPPED[stop.state]
        return self._failure(row, request, code, Problem(None, message))

    def encoded(self, row: int, row_id: str) -> bytes:
        """The line of a settled row; one that cannot be written is settled again, as a failure."""
        read, result = self.rows[row], self.results[row]
        if result is None:
            raise RuntimeError(f"{read.file}:{read.line.number}: the row has no result")
        try:
            return encode_result(result, row_id)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with an answer, it may not end the job
            excerpt = read.line.raw[:EXCERPT_BYTES]
            failure = RowFailure(result.custom_id, Code.INTERNAL, sentence(error), read.place, excerpt)
            self.settle(row, failure)
            return encode_result(failure, row_id)

    def for_journal(self, answers: Mapping[int, Answer]) -> list[KeptAnswer]:
        """What the journal gets of answers, by row."""
        return [KeptAnswer(row_key(self.shard.index, self.rows[row]), answer) for row, answer in answers.items()]

    def were_kept(self, rows: Iterable[int]) -> None:
        """Take in that the journal has the answers to these rows."""
        for row in rows:
            self.unkept.pop(row, None)

    def _failure(
        self, row: int, request: Request, code: Code, problem: Problem, answer: Answer | None = None
    ) -> RowFailure:
        read = self.rows[row]
        return RowFailure(
            request.custom_id,
            code,
            problem.message,
            read.place,
            excerpt=read.line.raw[:EXCERPT_BYTES],
            field=problem.field,
            status_code=answer.status_code if answer else None,
            body=answer.body if answer else None,
            metadata=request.metadata,
        )


def commit_shard(job: JobStore, spec: JobSpec, opened: OpenShard, *, epoch: int, attempt: str) -> Commit:
    """Write the shard's parts whole, then the commit that makes them its output; return the commit that stands."""
    index = opened.shard.index
    standing = job.commit_of(index)
    if standing is not None:  # a worker that slept wakes up when its job has ended, and nobody deletes its parts then
        return standing
    succeeded: list[bytes] = []
    failed: list[bytes] = []
    codes: Counter[str] = Counter()
    for number, row in enumerate(opened.rows):
        encoded = opened.encoded(number, row_id(spec.job_id, row.input, row.line.number))
        result = opened.results[number]
        if isinstance(result, Success):
            succeeded.append(encoded)
        else:
            assert result is not None
            failed.append(encoded)
            codes[result.code] += 1
    output = job.write_parts(index, attempt=attempt, results=succeeded, errors=failed, part_format=spec.part_format)
    (results, *more_results), (errors, *more_errors) = output.results or (None,), output.errors or (None,)
    ours = Commit(
        shard=index,
        epoch=epoch,
        attempt=attempt,
        results=results,
        errors=errors,
        succeeded=len(succeeded),
        failed_by_code=dict(codes),
        usage=opened.usage(),
        copied=sum(answer.is_copy for answer in opened.answers()),
        more=OutputParts(tuple(more_results), tuple(more_errors)),
    )
    standing = job.commit(ours)
    if standing.attempt != attempt:  # the same sleeper, who slept after it had looked
        job.discard(output.parts)
    return standing


def _problem(body: bytes, asked: Body) -> Problem:
    """What an error as OpenAI writes it says, in one line; of any other, all of it."""
    answered = orjson.loads(body)
    error = answered.get("error") if isinstance(answered, dict) else None
    message, field = (error.get("message"), error.get("param")) if isinstance(error, dict) else (None, None)
    text = str(message or body.decode())
    told = told_by_server(text, asked)
    if told is not None:
        return told
    return Problem(field.removeprefix("body.") if isinstance(field, str) else None, " ".join(text.split()))
