"""The objects of one job under its output prefix: every one created once, heartbeats apart.

Creating answers with what stands there, so a lost acknowledgement, a second try and a second writer all end
in one truth. Knows nothing of engines, of states, or of who may hold the job.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from enum import Enum
from functools import partial
from itertools import count
from typing import Protocol, Self, TypeVar

from batch import layout
from batch.errors import JobFailed, SpecMismatch
from batch.jobs.part_store import PartStore
from batch.layout import PartKind
from batch.planning.plan import Plan, decode_plan, encode_plan
from batch.records.manifest import Manifest, decode_manifest, encode_manifest
from batch.records.objects import (
    AttemptEnd,
    Commit,
    CorruptRecord,
    Crash,
    EngineReport,
    Epoch,
    ForeignRecord,
    Heartbeat,
    Part,
    Stop,
    Void,
    decode_record,
    encode_record,
)
from batch.records.state import JobFacts, JobRecord, PlanTotals, fold
from batch.spec.job_spec import JobSpec, encode_spec
from connectors.stores.registry import open_store, probe
from connectors.stores.store import Store

READERS = 16
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Decode(Protocol[T_co]):
    """From an object's content to what it says. CorruptRecord names the key."""

    def __call__(self, content: bytes, *, key: str) -> T_co: ...


class Standing(Enum):
    """What has become of an attempt's claim."""

    OURS = "ours"
    SUPERSEDED = "a newer attempt has the job"
    GONE = "the job's place was emptied, or given to another job"


class JobStore(PartStore):
    """A job's objects. What is create-only is read once and kept; several threads may share one JobStore.

    An object of another job is refused by name, or, where nothing depends on it, taken for absent.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._kept: dict[str, object] = {}

    @classmethod
    def open(cls, uri: str, *, probe_nonce: str | None = None) -> Self:
        """The job under an output URI. With a nonce the store is probed first: ConditionalWritesIgnored."""
        opened = cls(open_store(uri))
        if probe_nonce is not None:
            opened.probe(probe_nonce)
        return opened

    def probe(self, nonce: str) -> None:
        """Try that the store creates only once: ConditionalWritesIgnored."""
        probe(self._store, layout.PROBE_PREFIX, nonce)

    # --- what was asked, and how it is cut ---

    def create_spec(self, spec: JobSpec) -> JobSpec:
        """The spec that stands. SpecMismatch when the output belongs to another job or another digest.

        UsageError when parts of another job are left there, without its spec.
        """
        stored = self._own.create_spec(encode_spec(spec))
        differing = stored.differences(spec)
        if stored.job_id != spec.job_id:
            differing = {"job_id": (stored.job_id, spec.job_id), **differing}
        if stored.job_id != spec.job_id or stored.digest != spec.digest:
            raise SpecMismatch(_mismatch(self.uri, differing), differing)
        return stored

    def spec(self) -> JobSpec:
        """The job's spec. JobNotFound."""
        return self._own.spec()

    def create_plan(self, plan: Plan) -> Plan:
        """The plan that stands: the first one. JobFailed when shards of another plan are committed."""
        if self.commits() and self.plan() is None:
            raise JobFailed(
                f"{self._own.address(layout.PLAN)} is gone, and shards of that plan are committed: bring it back, or "
                f"delete {self.uri} and start again"
            )
        return self._decoded(layout.PLAN, _decode_plan, self._own.create(layout.PLAN, encode_plan(plan)))

    def plan(self) -> Plan | None:
        """The stored plan; None while the inputs are still validated."""
        return self._once(layout.PLAN, _decode_plan)

    # --- attempts ---

    def create_epoch(self, epoch: Epoch) -> bool:
        """Claim the epoch's number, and act for it from now on. False when somebody else has it."""
        content = encode_record(epoch)
        try:
            is_ours = self._own.create(layout.epoch(epoch.number), content) == content
        except (CorruptRecord, ForeignRecord):
            return False
        if is_ours:
            self.act_for(epoch)
        return is_ours

    def act_for(self, epoch: Epoch) -> None:
        """Write only while this claim stands: JobGone otherwise."""
        self._own.stand_on(layout.epoch(epoch.number), encode_record(epoch))

    def standing(self, epoch: int) -> Standing:
        """What has become of the claim that this store acts for."""
        if not self._own.stand():
            return Standing.GONE
        return Standing.OURS if self.epoch(epoch + 1) is None else Standing.SUPERSEDED

    def check_in_place(self) -> None:
        """Raise JobGone unless the job that this store was opened for is still there."""
        self._own.check()

    def is_in_place(self) -> bool:
        """Whether the job that this store was opened for is still there."""
        return self._own.stand()

    def epochs(self) -> list[Epoch]:
        """All attempts, the oldest first."""
        numbers = self.epoch_numbers()
        return [epoch for epoch in (self.epoch(number) for number in numbers) if epoch is not None]

    def epoch_numbers(self) -> list[int]:
        """The attempts' numbers, ascending, by one listing."""
        numbers = (layout.epoch_number(key) for key in self._store.keys(layout.EPOCH_PREFIX))
        return sorted(number for number in numbers if number is not None)

    def epoch(self, number: int) -> Epoch | None:
        """One attempt's claim. One that cannot be read, or is another job's, is nobody's."""
        return self._readable(Epoch, layout.epoch(number))

    def latest_epoch(self) -> Epoch | None:
        """The newest attempt."""
        found = (self.epoch(number) for number in reversed(self.epoch_numbers()))
        return next((epoch for epoch in found if epoch is not None), None)

    def beat(self, heartbeat: Heartbeat) -> None:
        """Overwrite the epoch's heartbeat; only its owner may."""
        self._own.put(layout.heartbeat(heartbeat.epoch), encode_record(heartbeat))

    def heartbeat(self, epoch: int) -> Heartbeat | None:
        """The last heartbeat of an epoch that can be read."""
        return self._latest(Heartbeat, layout.heartbeat(epoch))

    def age_s(self, epoch: int) -> float | None:
        """How long before the epoch's last heartbeat the job was stored, by the store's clock; None: it has none."""
        stored, beaten = (self._store.head(key).modified_at_s for key in (layout.SPEC, layout.heartbeat(epoch)))
        return None if stored is None or beaten is None else beaten - stored

    def report_engine(self, report: EngineReport) -> None:
        """Overwrite what an engine says of itself; only that engine may."""
        self._own.put(layout.engine_report(report.epoch, report.name), encode_record(report))

    def engine_reports(self, epoch: int) -> list[EngineReport]:
        """What the engines of an attempt last said, as far as it can be read."""
        found = [self._latest(EngineReport, key) for key in self._store.keys(layout.engine_reports(epoch))]
        return [report for report in found if report is not None]

    def keep_answers(self, epoch: int, engine: str, number: int, segment: bytes) -> None:
        """Add a segment to an engine's journal."""
        self._own.create(layout.segment(epoch, engine, number), segment)

    def journal(self) -> Iterator[bytes]:
        """The segments of all engines, oldest attempt first."""
        for key in list(self._store.keys(layout.JOURNAL_PREFIX)):
            with suppress(CorruptRecord, ForeignRecord):
                if (segment := self._own.get(key)) is not None:
                    yield segment

    def record_crash(self, crash: Crash) -> None:
        """Remember which rows an engine died of, or beside."""
        self._own.create(layout.crash(crash.epoch, crash.engine), encode_record(crash))

    def crashes(self) -> list[Crash]:
        """Every crash of an engine of this job that can be read."""
        found = [self._readable(Crash, key) for key in self._store.keys(layout.CRASH_PREFIX)]
        return [crash for crash in found if crash is not None]

    def end_attempt(self, end: AttemptEnd) -> AttemptEnd:
        """The attempt's end that stands."""
        key = layout.attempt_end(end.epoch)
        return decode_record(AttemptEnd, self._own.create(key, encode_record(end)), key=self._own.address(key))

    def attempt_end(self, epoch: int) -> AttemptEnd | None:
        """How an attempt ended, if that can be read; None while it is open, and after a crash."""
        return self._readable(AttemptEnd, layout.attempt_end(epoch))

    # --- output ---

    def commit(self, commit: Commit) -> Commit:
        """The commit that stands for the shard: this one, or an earlier winner whose parts are then the output."""
        for redo in count(self._redo(commit.shard)):
            key = layout.commit(commit.shard, redo)
            try:
                return decode_record(Commit, self._own.create(key, encode_record(commit)), key=self._own.address(key))
            except (CorruptRecord, ForeignRecord) as error:
                self._create_void(commit.shard, redo, Void(None, str(error)))
        raise AssertionError("unreachable: the numbers do not end")

    def void(self, commit: Commit, reason: str) -> None:
        """Let a commit count no more, for ever: its shard has none, until another attempt at it is committed."""
        redo = self._redo(commit.shard)
        if self._readable(Commit, layout.commit(commit.shard, redo)) == commit:
            self._create_void(commit.shard, redo, Void(commit, reason))

    def committed_shards(self) -> set[int]:
        """The shards that are done, by their keys alone."""
        return {shard for shard, _ in self._commits_that_count()}

    def commit_of(self, shard: int) -> Commit | None:
        """The commit of one shard, if it can be read."""
        return self._readable(Commit, layout.commit(shard, self._redo(shard)))

    def commits(self) -> dict[int, Commit]:
        """Every commit that can be read by shard, ascending. Reads 16 at a time, and each one once."""
        keys = [layout.commit(shard, redo) for shard, redo in sorted(self._commits_that_count())]
        with ThreadPoolExecutor(READERS) as readers:
            found = readers.map(lambda key: self._readable(Commit, key), keys)
            return {commit.shard: commit for commit in found if commit is not None}

    def parts(self, kind: PartKind) -> list[Part]:
        """The parts of the output: of the manifest in input order, or of the commits so far in theirs."""
        manifest = self.manifest()
        if manifest is not None:
            return list(manifest.results if kind == "results" else manifest.errors)
        return [part for commit in self.commits().values() for part in commit.output.of(kind)]

    def lines(self, kind: PartKind) -> Iterator[bytes]:
        """The output's lines in the order of `parts`, without newline, one part in memory at a time.

        JobFailed when a part's bytes are not those that were committed.
        """
        for part in self.parts(kind):
            yield from self.lines_of(part)

    # --- the end ---

    def request_stop(self, stop: Stop) -> Stop:
        """Ask the job to end early. The first request stands."""
        content = self._own.create(layout.STOP, encode_record(stop))
        return self._decoded(layout.STOP, partial(decode_record, Stop), content)

    def stop(self) -> Stop | None:
        """The standing request to end early."""
        return self._once(layout.STOP, partial(decode_record, Stop))

    def create_manifest(self, manifest: Manifest) -> Manifest:
        """End the job. The manifest that stands, ours or an earlier one."""
        return self._decoded(
            layout.MANIFEST, decode_manifest, self._own.create(layout.MANIFEST, encode_manifest(manifest))
        )

    def manifest(self) -> Manifest | None:
        """The closing ledger; None while the job has not ended."""
        return self._once(layout.MANIFEST, decode_manifest)

    def collect_garbage(self, manifest: Manifest) -> int:
        """Delete the journal, copies of lines, and the parts that the stored manifest does not name; how many.

        ValueError for any other manifest, JobGone when it stands no more.
        """
        content = self._own.get(layout.MANIFEST)
        if content is None or self._decoded(layout.MANIFEST, decode_manifest, content) != manifest:
            # Before the manifest stands, a late writer may still commit a part deleted here.
            raise ValueError(f"{self.uri}: garbage is collected only after this very manifest was stored")
        self._own.stand_on(layout.MANIFEST, content)
        named = {part.key for part in (*manifest.results, *manifest.errors)}
        strays = [
            key
            for prefix in (layout.RESULTS_PREFIX, layout.ERRORS_PREFIX, layout.JOURNAL_PREFIX, layout.COPIES_PREFIX)
            for key in self._store.keys(prefix)
            if key not in named
        ]
        for key in strays:
            self._own.delete(key)
        return len(strays)

    # --- views ---

    def facts(self) -> JobFacts:
        """What the objects say now. JobNotFound. An ended job takes two reads, and a third where it was stopped."""
        spec, manifest = self.spec(), self.manifest()
        if manifest is not None:
            return JobFacts.ended(spec, manifest, self.stop() if manifest.was_stopped else None)
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
            committed_shards=len(self.committed_shards()) if is_near else 0,
        )

    def record(self, now: datetime) -> JobRecord:
        """The job as people see it. JobNotFound."""
        return fold(self.facts(), now)

    # --- reading and writing ---

    def _commits_that_count(self) -> set[tuple[int, int]]:
        """(shard, how many of its commits are void) of each that has another one, by two listings."""
        voids, commits = (
            {named for key in self._store.keys(prefix) if (named := layout.shard_and_redo(key)) is not None}
            for prefix in (layout.VOID_PREFIX, layout.COMMIT_PREFIX)
        )
        return commits - voids

    def _redo(self, shard: int) -> int:
        """How many of a shard's commits are void."""
        return next(redo for redo in count() if self._own.get(layout.void(shard, redo)) is None)

    def _create_void(self, shard: int, redo: int, void: Void) -> None:
        self._own.create(layout.void(shard, redo), encode_record(void))

    def _readable(self, kind: type[T], key: str) -> T | None:
        """A record that is written once; None where there is none, or one that is damaged or another job's."""
        with suppress(CorruptRecord, ForeignRecord):
            return self._once(key, partial(decode_record, kind))
        return None

    def _latest(self, kind: type[T], key: str) -> T | None:
        """The same of a record that its owner overwrites."""
        with suppress(CorruptRecord, ForeignRecord):
            content = self._own.get(key)
            return None if content is None else decode_record(kind, content, key=self._own.address(key))
        return None

    def _once(self, key: str, decode: Decode[T]) -> T | None:
        """An object that is written once, decoded once and kept; absence is not kept."""
        if key not in self._kept:
            content = self._own.get(key)
            if content is None:
                return None
            self._kept[key] = self._decoded(key, decode, content)
        return self._kept[key]  # type: ignore[return-value]  # the key decides the type

    def _decoded(self, key: str, decode: Decode[T], content: bytes) -> T:
        try:
            return decode(content, key=self._own.address(key))
        except CorruptRecord as error:
            cure = _CURES.get(key)
            raise CorruptRecord(f"{error}; {cure}" if cure else str(error)) from None


_CURES = {
    layout.PLAN: "bring it back from a copy, or delete the whole output and start again",
    layout.STOP: "delete it, and stop the job again if it is to end early",
    layout.MANIFEST: "bring it back from a copy, or run the job again with another output",
}
"""What helps when an object is damaged that nothing can do without."""


def _decode_plan(content: bytes, *, key: str) -> Plan:
    try:
        return decode_plan(content)
    except JobFailed as error:
        raise CorruptRecord(f"{key}: {error}") from None


def _mismatch(uri: str, differing: dict[str, tuple[object, object]]) -> str:
    listed = "; ".join(f"{name}: stored {stored!r}, given {given!r}" for name, (stored, given) in differing.items())
    return f"{uri} belongs to another job or spec ({listed}); use another output or job id, or the same settings"
