"""The server's parts without a wire: files, submissions, jobs, over a store that dies at every operation."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from faults import Crash, Fault, Kind, Verb, Wrapped, struck
from jobs import NOW, FakeClock

from batch.clock import rfc3339
from batch.records.objects import Stop, StopState
from batch.records.shelf import Shelf
from batch.records.state import JobState
from batch.server.admin.models import ServedModel
from batch.server.admin.root import ServerRoot
from batch.server.files.passing import MAX_HEAD_BYTES, Passing
from batch.server.files.uploaded import Description
from batch.server.ids import Ids, first_since
from batch.server.jobs.submissions import Submission
from batch.server.refusal import Refused
from batch.server.server import BatchServer
from batch.server.signing import Signer
from batch.server.sweep import sweep
from batch.server.tenant import Asked
from batch.spec.parameters import InferenceParameters
from connectors.stores import registry
from connectors.stores.store import Store

T = TypeVar("T")
AT = rfc3339(NOW)
ROW = b'{"custom_id": "a", "body": {"model": "m", "messages": []}}\n'


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(memory_store: Store, clock: FakeClock) -> BatchServer:
    found = BatchServer(ServerRoot(memory_store.uri), clock=clock)
    found.create_account("team")
    found.models.create(ServedModel("m", "src", AT, engine="echo"))
    return found


# --- what passes ---


def test_what_is_learned_of_an_upload_does_not_depend_on_its_chunks() -> None:
    content = b"\xef\xbb\xbf\n  \n" + b"{broken\n" + ROW * 3 + b'{"custom_id": "last"}'
    for size in (1, 7, 1000):
        passing = Passing((content[at : at + size] for at in range(0, len(content), size)), 10**6)
        assert b"".join(passing) == content
        assert (passing.size_bytes, passing.lines, passing.model) == (len(content), 7, "m")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[1]\n" + ROW, "line 1 is no JSON object"),
        (b"\n\ncustom_id,prompt\n", "line 3 is no JSON object"),
        (ROW.decode().encode("utf-16"), "line 1, byte 0 is not UTF-8"),
        (b"x" * (MAX_HEAD_BYTES + 5), "line 1 is no JSON object"),
    ],
)
def test_what_is_no_file_of_requests_is_told_at_once(content: bytes, what: str) -> None:
    with pytest.raises(Refused, match=what):
        list(Passing([content], 10**9))


def test_more_than_may_come_is_refused_as_it_comes() -> None:
    endless = itertools.repeat(ROW)
    with pytest.raises(Refused, match="more than 1,000 bytes"):
        list(Passing(endless, 1000))


# --- ids, signatures ---


def test_ids_sort_by_their_time() -> None:
    ids, start = Ids(lambda: "0" * 24), datetime(2026, 1, 31, tzinfo=UTC)
    made = [ids.new("x-", start + timedelta(seconds=n)) for n in range(0, 10**7, 99_999)]
    assert made == sorted(made)
    assert all(first_since("x-", start + timedelta(seconds=99_999)) <= each for each in made[1:])
    assert made[0] < first_since("x-", start + timedelta(seconds=99_999))


def test_a_signature_is_for_its_words_and_a_while(memory_store: Store, clock: FakeClock) -> None:
    ours, others = (Signer(Shelf(memory_store), lambda n=n: bytes([n]) * 32) for n in (1, 2))  # type: ignore[misc]
    expires, signature = ours.sign("PUT", "a", "bc", until=clock.now() + timedelta(seconds=10))
    allows = others.allows  # the secret of the first one is everybody's
    assert allows("PUT", "a", "bc", expires=expires, signature=signature, now=clock.now())
    assert not allows("PUT", "ab", "c", expires=expires, signature=signature, now=clock.now())
    assert not allows("GET", "a", "bc", expires=expires, signature=signature, now=clock.now())
    assert not allows("PUT", "a", "bc", expires=str(int(expires) + 1), signature=signature, now=clock.now())
    assert not allows("PUT", "a", "bc", expires=expires, signature=signature, now=clock.now() + timedelta(seconds=10))


# --- the store dies at every operation, and the client sends it again ---


def points(until: int = 60) -> Iterator[tuple[int, Kind]]:
    return itertools.product(range(1, until), (Kind.CRASH_BEFORE, Kind.CRASH_AFTER))


class Dying(Wrapped):
    """A store of a process that dies at an operation, which all its stores count together."""

    fault: Fault | None = None
    operations = 0

    def _do(self, verb: Verb, key: str, operation: Callable[[], T]) -> T:
        Dying.operations += 1
        is_hit = Dying.fault is not None and Dying.fault.at == Dying.operations
        return struck(Dying.fault.kind if is_hit and Dying.fault else None, verb, operation, pause=lambda: None)


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault | None], None]:
    """Set where the process dies; None: nowhere."""
    opened = registry._store_at
    monkeypatch.setattr(registry, "_store_at", lambda uri: Dying(opened(uri)))

    def set_it(fault: Fault | None) -> None:
        Dying.fault, Dying.operations = fault, 0

    return set_it


def crashed_then_retried(
    uri: str,
    clock: FakeClock,
    dies: Callable[[Fault | None], None],
    fault: Fault,
    do: Callable[[BatchServer, bool], str],
) -> bool:
    """Whether the operation of that number was reached: the process died there, and another one was asked again."""
    server = BatchServer(ServerRoot(uri), clock=clock)
    server.tenant("team")
    dies(fault)
    try:
        do(server, False)
    except Crash:
        dies(None)
        do(BatchServer(ServerRoot(uri), clock=clock), True)
        return True
    finally:
        dies(None)
    return False


def upload(server: BatchServer, is_retry: bool) -> str:
    files = server.tenant("team").files
    return files.receive([ROW, ROW], lambda: Description("a.jsonl", "batch"), is_retry=is_retry).file_id


def test_an_upload_that_dies_anywhere_is_one_file_after_its_retry(
    clock: FakeClock, dies: Callable[[Fault | None], None]
) -> None:
    reached = 0
    for at, kind in points():
        uri = f"memory://upload-{at}-{kind.name}/root"
        BatchServer(ServerRoot(uri), clock=clock).create_account("team")
        if not crashed_then_retried(uri, clock, dies, Fault(kind, at), upload):
            break
        reached += 1
        tenant = BatchServer(ServerRoot(uri), clock=clock).tenant("team")
        (file,) = tenant.files.all()
        assert b"".join(tenant.files.read(file, 0, file.size_bytes)) == ROW * 2
        assert [record.dataset_id for record in tenant.workspace.datasets()] == [file.file_id]
    assert reached >= 6


def create(server: BatchServer, is_retry: bool) -> str:
    tenant, now = server.tenant("team"), server.clock.now()
    sent = tenant.submissions.sent_before("batch_", "digest", now) if is_retry else None
    submission = sent or Submission(server.ids.new("batch_", now), "digest", AT, "m", "file-1")
    asked = Asked(
        output_id=submission.job_id,
        engine=server.models.engine_of("m"),
        created_by="ada",
        inputs=("memory://elsewhere/in.jsonl",),
        parameters=InferenceParameters(),
    )
    return tenant.create_job(submission, asked).job_id


def test_a_create_that_dies_anywhere_is_one_job_after_its_retry(
    clock: FakeClock, dies: Callable[[Fault | None], None]
) -> None:
    reached = 0
    for at, kind in points():
        uri = f"memory://create-{at}-{kind.name}/root"
        first = BatchServer(ServerRoot(uri), clock=clock)
        first.create_account("team")
        first.models.create(ServedModel("m", "src", AT, engine="echo"))
        if not crashed_then_retried(uri, clock, dies, Fault(kind, at), create):
            break
        reached += 1
        (record,) = BatchServer(ServerRoot(uri), clock=clock).tenant("team").jobs.all()
        assert (record.state, record.spec.created_by) == (JobState.VALIDATING, "ada")
    assert reached >= 8


def test_a_cancel_and_a_delete_that_die_anywhere_are_done_after_their_retry(
    clock: FakeClock, dies: Callable[[Fault | None], None]
) -> None:
    def cancelled(server: BatchServer, is_retry: bool) -> str:
        tenant = server.tenant("team")
        (record,) = tenant.jobs.all()
        store = tenant.jobs.store(record.job_id)
        assert store is not None
        store.request_stop(Stop(StopState.CANCELLED, "x", AT))
        return record.job_id

    def deleted(server: BatchServer, is_retry: bool) -> str:
        tenant = server.tenant("team")
        for file in tenant.files.all():
            tenant.files.delete(file.file_id, is_in_use=False)
        for record in tenant.jobs.all():
            tenant.delete_job(record, by="ada", at=AT)
        return ""

    for do in (cancelled, deleted):
        reached = 0
        for at, kind in points():
            uri = f"memory://{do.__name__}-{at}-{kind.name}/root"
            first = BatchServer(ServerRoot(uri), clock=clock)
            first.create_account("team")
            first.models.create(ServedModel("m", "src", AT, engine="echo"))
            upload(first, False)
            create(first, False)
            if not crashed_then_retried(uri, clock, dies, Fault(kind, at), do):
                break
            reached += 1
            tenant = BatchServer(ServerRoot(uri), clock=clock).tenant("team")
            assert [record.state for record in tenant.jobs.all()] == [JobState.CANCELLING]
            assert len(tenant.files.all()) == (do is cancelled)
        assert reached >= 4


# --- records of jobs ---


def test_a_running_job_is_read_once_a_second_and_a_stop_is_seen_at_once(server: BatchServer, clock: FakeClock) -> None:
    job_id = create(server, False)
    tenant = server.tenant("team")
    assert tenant.jobs.fresh(job_id) is not None
    store = tenant.jobs.store(job_id)
    assert store is not None
    store.request_stop(Stop(StopState.CANCELLED, "x", AT))
    seen = tenant.jobs.get(job_id)
    assert seen is not None
    assert seen.state is JobState.VALIDATING
    clock.sleep(2)
    seen = tenant.jobs.get(job_id)
    assert seen is not None
    assert seen.state is JobState.CANCELLING


def test_what_is_told_of_a_job_names_no_place(server: BatchServer, clock: FakeClock) -> None:
    server.models.create(ServedModel("inside", "/models/secret", AT, engine="echo"))
    tenant = server.tenant("team")
    record = tenant.create_job(
        Submission("batch_1", "d", AT, "inside", "file-1"),
        Asked("batch_1", server.models.engine_of("inside"), "ada", ("memory://e/x.jsonl",), InferenceParameters()),
    )
    failed = replace(record, message=f"No weights in /models/secret; see {record.spec.output}/_job/logs.")
    assert (
        tenant.message(failed, server.places) == "No weights in inside; see /accounts/team/datasets/batch_1/_job/logs."
    )


def test_a_damaged_job_hides_no_other(server: BatchServer, memory_store: Store) -> None:
    good, bad = create(server, False), create(server, False)
    memory_store.put(f"accounts/team/datasets/{bad}/_job/spec.json", b"{")
    fresh = BatchServer(ServerRoot(memory_store.uri), clock=server.clock).tenant("team")
    assert [record.job_id for record in fresh.jobs.all()] == [good]


def test_a_deleted_file_is_gone_for_every_server(server: BatchServer, memory_store: Store) -> None:
    file_id = upload(server, False)
    other = BatchServer(ServerRoot(memory_store.uri), clock=server.clock).tenant("team")
    assert other.files.get(file_id).lines == 2
    server.tenant("team").files.delete(file_id, is_in_use=False)
    with pytest.raises(Refused, match="No such File object"):
        other.files.get(file_id)


def test_an_expired_file_is_shown_to_nobody(server: BatchServer, clock: FakeClock) -> None:
    files = server.tenant("team").files
    file = files.receive([ROW], lambda: Description("a", "batch", 3600))
    clock.sleep(3599)
    assert files.get(file.file_id) == file
    clock.sleep(1)
    assert files.all() == []
    with pytest.raises(Refused):
        files.get(file.file_id)


# --- the sweep ---


def test_what_nobody_is_shown_any_more_takes_no_space(
    server: BatchServer, clock: FakeClock, memory_store: Store
) -> None:
    tenant = server.tenant("team")
    stays = tenant.files.receive([ROW], lambda: Description("stays", "batch"))
    expires = tenant.files.receive([ROW], lambda: Description("expires", "batch", 3600))
    read = tenant.files.receive([ROW], lambda: Description("read", "batch"))
    torn = server.ids.new("file-", clock.now())
    tenant.workspace.store_file(torn, "content.jsonl", [ROW])  # and the server died
    begun = tenant.uploads.create(Description("u", "batch"), size_bytes=9, mime_type="x").upload.upload_id
    tenant.uploads.add_part(begun, [b"123"])
    job = tenant.create_job(
        Submission("batch_1", "d", AT, "m", read.file_id),
        Asked("batch_1", server.models.engine_of("m"), "ada", ("memory://e/x.jsonl",), InferenceParameters()),
    )
    tenant.files.delete(read.file_id, is_in_use=True)

    assert sweep(tenant, clock.now()) == []
    clock.sleep(25 * 3600)
    assert sorted(sweep(tenant, clock.now())) == sorted([expires.file_id, torn, begun])
    assert sweep(tenant, clock.now()) == []
    assert set(tenant.workspace.dataset_ids("file-")) == {stays.file_id, read.file_id}  # a job reads one
    tenant.jobs.forget(job.job_id)
    tenant.workspace.delete_job(job.job_id)
    assert sweep(tenant, clock.now()) == [read.file_id]
    assert tenant.files.all() == [stays]
    assert list(memory_store.keys("accounts/team/uploads/")) == [f"accounts/team/uploads/{begun}/upload.json"]
