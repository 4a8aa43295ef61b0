"""The objects of one job under its output prefix: every one created once, heartbeats apart.

Creating answers with what stands there, so a lost acknowledgement, a second try and a second writer all end
in one truth. Knows nothing of engines, of states, or of who may hold the job.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Self, TypeVar

from batch import layout
from batch.errors import JobFailed, JobNotFound, SpecMismatch
from batch.layout import PartKind
from batch.manifest import Manifest, decode_manifest, encode_manifest
from batch.parts import JSONL, PartFormat, decode_part, encode_part
from batch.plan import Plan, decode_plan, encode_plan
from batch.records import (
    AttemptEnd,
    Commit,
    Crash,
    EngineReport,
    Epoch,
    Heartbeat,
    Part,
    Stop,
    decode_record,
    encode_record,
)
from batch.spec import JobSpec, decode_spec, encode_spec
from batch.state import JobFacts, JobRecord, PlanTotals, fold
from connectors.errors import NotFound
from connectors.inputs import COPY, InputFile
from connectors.registry import open_store, probe
from connectors.store import Store, create_once

READERS = 16

T = TypeVar("T")


class JobStore:
    """A job's objects. What is create-only is read once and kept; several threads may share one JobStore."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, object] = {}

    @classmethod
    def open(cls, uri: str, *, probe_nonce: str | None = None) -> Self:
        """The job under an output URI. With a nonce the store is probed first: ConditionalWritesIgnored."""
        store = open_store(uri)
        if probe_nonce is not None:
            probe(store, layout.PROBE_PREFIX, probe_nonce)
        return cls(store)

    @property
    def uri(self) -> str:
        """The output URI."""
        return self._store.uri

    # --- what was asked, and how it is cut ---

    def create_spec(self, spec: JobSpec) -> JobSpec:
        """The spec that stands. SpecMismatch when the output belongs to another job or another digest."""
        stored = decode_spec(create_once(self._store, layout.SPEC, encode_spec(spec)))
        differing = stored.differences(spec)
        if stored.job_id != spec.job_id:
            differing = {"job_id": (stored.job_id, spec.job_id), **differing}
        if stored.job_id != spec.job_id or stored.digest != spec.digest:
            raise SpecMismatch(_mismatch(self.uri, differing), differing)
        return stored

    def spec(self) -> JobSpec:
        """The job's spec. JobNotFound."""
        spec = self._once(layout.SPEC, decode_spec)
        if spec is None:
            raise JobNotFound(f"no job under {self.uri}: {layout.SPEC} is missing; check the output URI or the job id")
        return spec

    def create_plan(self, plan: Plan) -> Plan:
        """The plan that stands: the first one."""
        return decode_plan(create_once(self._store, layout.PLAN, encode_plan(plan)))

    def plan(self) -> Plan | None:
        """The stored plan; None while the inputs are still validated."""
        return self._once(layout.PLAN, decode_plan)

    def write_copy(self, content: bytes) -> InputFile:
        """Store lines in another order than their file's, for a plan to name; the file that they are now."""
        key = layout.copy(hashlib.sha256(content).hexdigest()[:32])
        self._store.create(key, content)
        found = self._store.head(key)
        return InputFile(f"{self.uri}/{key}", found.size_bytes, found.etag, COPY)

    # --- attempts ---

    def create_epoch(self, epoch: Epoch) -> bool:
        """Claim the epoch's number. False when somebody else has it."""
        content = encode_record(epoch)
        return create_once(self._store, layout.epoch(epoch.number), content) == content

    def epochs(self) -> list[Epoch]:
        """All attempts, the oldest first."""
        numbers = self.epoch_numbers()
        return [epoch for epoch in (self.epoch(number) for number in numbers) if epoch is not None]

    def epoch_numbers(self) -> list[int]:
        """The attempts' numbers, ascending, by one listing."""
        numbers = (layout.epoch_number(found.key) for found in self._store.list(layout.EPOCH_PREFIX))
        return sorted(number for number in numbers if number is not None)

    def epoch(self, number: int) -> Epoch | None:
        """One attempt's claim."""
        return self._record(Epoch, layout.epoch(number))

    def latest_epoch(self) -> Epoch | None:
        """The newest attempt."""
        numbers = self.epoch_numbers()
        return self.epoch(numbers[-1]) if numbers else None

    def beat(self, heartbeat: Heartbeat) -> None:
        """Overwrite the epoch's heartbeat; only its owner may."""
        self._store.put(layout.heartbeat(heartbeat.epoch), encode_record(heartbeat))

    def heartbeat(self, epoch: int) -> Heartbeat | None:
        """The last heartbeat of an epoch."""
        key = layout.heartbeat(epoch)
        content = self._get(key)
        return None if content is None else decode_record(Heartbeat, content, key=key)

    def report_engine(self, report: EngineReport) -> None:
        """Overwrite what an engine says of itself; only that engine may."""
        self._store.put(layout.engine_report(report.epoch, report.name), encode_record(report))

    def engine_reports(self, epoch: int) -> list[EngineReport]:
        """What the engines of an attempt last said."""
        keys = [found.key for found in self._store.list(layout.engine_reports(epoch))]
        found = ((key, self._get(key)) for key in keys)
        return [decode_record(EngineReport, content, key=key) for key, content in found if content is not None]

    def keep_answers(self, epoch: int, engine: str, number: int, segment: bytes) -> None:
        """Add a segment to an engine's journal."""
        self._store.create(layout.segment(epoch, engine, number), segment)

    def journal(self) -> Iterator[bytes]:
        """The segments of all engines, oldest attempt first."""
        for found in list(self._store.list(layout.JOURNAL_PREFIX)):
            segment = self._get(found.key)
            if segment is not None:
                yield segment

    def record_crash(self, crash: Crash) -> None:
        """Remember which rows an engine died of, or beside."""
        self._store.create(layout.crash(crash.epoch, crash.engine), encode_record(crash))

    def crashes(self) -> list[Crash]:
        """Every crash of an engine of this job."""
        keys = [found.key for found in self._store.list(layout.CRASH_PREFIX)]
        found = (self._record(Crash, key) for key in keys)
        return [crash for crash in found if crash is not None]

    def end_attempt(self, end: AttemptEnd) -> AttemptEnd:
        """The attempt's end that stands."""
        key = layout.attempt_end(end.epoch)
        return decode_record(AttemptEnd, create_once(self._store, key, encode_record(end)), key=key)

    def attempt_end(self, epoch: int) -> AttemptEnd | None:
        """How an attempt ended; None while it is open, and after a crash."""
        return self._record(AttemptEnd, layout.attempt_end(epoch))

    # --- output ---

    def write_part(
        self, kind: PartKind, shard: int, *, attempt: str, lines: Sequence[bytes], part_format: PartFormat = JSONL
    ) -> Part:
        """Write a whole part, one line each, and check its size. Nobody reads it before a commit names it.

        `attempt` must be unique to this try at the shard: JobFailed when other bytes stand at the key.
        """
        if not lines:
            raise ValueError(f"shard {shard}: a part needs at least one line; commit None instead")
        key = layout.part(kind, shard, attempt, part_format.name)
        content = encode_part(lines, part_format)
        if not self._store.create(key, content) and self._store.get(key) != content:
            raise JobFailed(f"{self.uri}/{key}: other bytes stand there; attempt {attempt!r} is not unique")
        stored_bytes = self._store.head(key).size_bytes
        if stored_bytes != len(content):
            raise JobFailed(f"{self.uri}/{key}: wrote {len(content)} bytes, the store holds {stored_bytes}; run again")
        return Part(key, rows=len(lines), bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def write_parts(
        self,
        shard: int,
        *,
        attempt: str,
        results: Sequence[bytes],
        errors: Sequence[bytes],
        part_format: PartFormat,
    ) -> tuple[Part | None, Part | None]:
        """Write a shard's lines as `write_part` does; None for a part without lines."""
        write = partial(self.write_part, shard=shard, attempt=attempt, part_format=part_format)
        return (
            write("results", lines=results) if results else None,
            write("errors", lines=errors) if errors else None,
        )

    def commit(self, commit: Commit) -> Commit:
        """The commit that stands for the shard: this one, or an earlier winner whose parts are then the output."""
        key = layout.commit(commit.shard)
        return decode_record(Commit, create_once(self._store, key, encode_record(commit)), key=key)

    def discard(self, parts: Sequence[Part]) -> None:
        """Delete parts that no commit names, nor ever will: another attempt has committed their shard."""
        for part in parts:
            self._store.delete(part.key)

    def committed_shards(self) -> set[int]:
        """The shards that are done, by one listing."""
        shards = (layout.commit_shard(found.key) for found in self._store.list(layout.COMMIT_PREFIX))
        return {shard for shard in shards if shard is not None}

    def commit_of(self, shard: int) -> Commit | None:
        """The commit of one shard."""
        return self._record(Commit, layout.commit(shard))

    def commits(self) -> dict[int, Commit]:
        """Every commit by shard, ascending. Reads 16 at a time, and each one once."""
        shards = sorted(self.committed_shards())
        with ThreadPoolExecutor(READERS) as readers:
            found = readers.map(lambda shard: self._record(Commit, layout.commit(shard)), shards)
            return {commit.shard: commit for commit in found if commit is not None}

    def parts(self, kind: PartKind) -> list[Part]:
        """The parts of the output: of the manifest in input order, or of the commits so far in theirs."""
        manifest = self.manifest()
        if manifest is not None:
            return list(manifest.results if kind == "results" else manifest.errors)
        found = (commit.results if kind == "results" else commit.errors for commit in self.commits().values())
        return [part for part in found if part is not None]

    def lines(self, kind: PartKind) -> Iterator[bytes]:
        """The output's lines in the order of `parts`, without newline, one part in memory at a time.

        JobFailed when a part's bytes are not those that were committed.
        """
        for part in self.parts(kind):
            yield from self.lines_of(part)

    def lines_of(self, part: Part) -> Iterator[bytes]:
        """The lines of one part, without newline. JobFailed when its bytes are not those that were committed."""
        content = self._store.get(part.key)
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise JobFailed(f"{self.uri}/{part.key}: the bytes differ from the committed sha256 {part.sha256}")
        return decode_part(content, part.key)

    # --- the end ---

    def request_stop(self, stop: Stop) -> Stop:
        """Ask the job to end early. The first request stands."""
        return decode_record(Stop, create_once(self._store, layout.STOP, encode_record(stop)), key=layout.STOP)

    def stop(self) -> Stop | None:
        """The standing request to end early."""
        return self._record(Stop, layout.STOP)

    def create_manifest(self, manifest: Manifest) -> Manifest:
        """End the job. The manifest that stands, ours or an earlier one."""
        return decode_manifest(
            create_once(self._store, layout.MANIFEST, encode_manifest(manifest)), key=layout.MANIFEST
        )

    def manifest(self) -> Manifest | None:
        """The closing ledger; None while the job has not ended."""
        return self._once(layout.MANIFEST, lambda content: decode_manifest(content, key=layout.MANIFEST))

    def collect_garbage(self, manifest: Manifest) -> int:
        """Delete the journal, copies of lines, and the parts that the stored manifest does not name; how many.

        ValueError for any other manifest.
        """
        if self.manifest() != manifest:
            # Before the manifest stands, a late writer may still commit a part deleted here.
            raise ValueError(f"{self.uri}: garbage is collected only after this very manifest was stored")
        named = {part.key for part in (*manifest.results, *manifest.errors)}
        strays = [
            found.key
            for prefix in (layout.RESULTS_PREFIX, layout.ERRORS_PREFIX, layout.JOURNAL_PREFIX, layout.COPIES_PREFIX)
            for found in self._store.list(prefix)
            if found.key not in named
        ]
        for key in strays:
            self._store.delete(key)
        return len(strays)

    # --- views ---

    def facts(self) -> JobFacts:
        """What the objects say now. JobNotFound."""
        spec, manifest = self.spec(), self.manifest()
        numbers = self.epoch_numbers()
        first = self.epoch(numbers[0]) if numbers else None
        heartbeat = self.heartbeat(numbers[-1]) if numbers else None
        plan = self.plan()
        # A listing takes a request per thousand shards: not before the attempt itself says that no row is missing.
        is_near = plan is not None and heartbeat is not None and heartbeat.progress.rows_done >= plan.rows
        return JobFacts(
            spec=spec,
            plan=PlanTotals(len(plan.shards), plan.lines, plan.rows) if plan else None,
            attempts=len(numbers),
            first_started_at=first.started_at if first else None,
            epoch=self.epoch(numbers[-1]) if numbers else None,
            heartbeat=heartbeat,
            end=self.attempt_end(numbers[-1]) if numbers else None,
            stop=self.stop(),
            committed_shards=len(self.committed_shards()) if is_near and manifest is None else 0,
            manifest=manifest,
        )

    def record(self, now: datetime) -> JobRecord:
        """The job as people see it. JobNotFound."""
        return fold(self.facts(), now)

    # --- reading ---

    def _get(self, key: str) -> bytes | None:
        try:
            return self._store.get(key)
        except NotFound:
            return None

    def _record(self, kind: type[T], key: str) -> T | None:
        return self._once(key, lambda content: decode_record(kind, content, key=key))

    def _once(self, key: str, decode: Callable[[bytes], T]) -> T | None:
        """A create-only object, decoded once and kept; absence is not kept."""
        if key not in self._kept:
            content = self._get(key)
            if content is None:
                return None
            self._kept[key] = decode(content)
        return self._kept[key]  # type: ignore[return-value]  # the key decides the type


def _mismatch(uri: str, differing: dict[str, tuple[object, object]]) -> str:
    listed = "; ".join(f"{name}: stored {stored!r}, given {given!r}" for name, (stored, given) in differing.items())
    return f"{uri} belongs to another job or spec ({listed}); use another output or job id, or the same settings"
