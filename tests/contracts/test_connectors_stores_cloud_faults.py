"""Each cloud store when the network and the server misbehave, seen through a proxy that counts calls on the wire."""

import logging
import os
import re
import time

import pytest
from fault_proxy import Fault
from jobs import HOLDER, FakeClock, make_spec
from stores import HEADS, WRITES, FaultyStore

from batch.cli.output.ending import count_retries
from batch.jobs.lease import claim
from batch.jobs.store import JobStore
from batch.planning.plan import make_plan
from connectors.errors import Changed, NotFound, Unavailable
from connectors.stores import cloud
from connectors.stores.retry import Retried, retries
from connectors.stores.store import create_once
from pipelines.attempt.heartbeat import Pulse

SMALLEST_PART_BYTES = 5 << 20  # of S3, but for the last one
AFTER_APPLY: list[Fault] = ["lost_ack", "500_after"]


def wire_calls(faulty: FaultyStore, method: str) -> int:
    return faulty.proxy.calls.count(method)


@pytest.mark.parametrize("fault", AFTER_APPLY)
def test_a_create_whose_answer_is_lost_is_still_ours(faulty: FaultyStore, fault: Fault) -> None:
    faulty.proxy.plan(WRITES[faulty.kind], fault)
    assert create_once(faulty.store, "k", b"ours") == b"ours"
    assert wire_calls(faulty, WRITES[faulty.kind]) == 2
    assert faulty.direct.get("k") == b"ours"


@pytest.mark.parametrize("fault", AFTER_APPLY)
def test_a_create_that_lost_is_never_taken_for_ours(faulty: FaultyStore, fault: Fault) -> None:
    faulty.direct.put("k", b"theirs")
    faulty.proxy.plan(WRITES[faulty.kind], fault)
    assert create_once(faulty.store, "k", b"ours") == b"theirs"


@pytest.mark.parametrize("fault", ["lost_ack", "500_after", "503_before"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_parts_whose_answers_are_lost_make_one_whole_object(
    faulty: FaultyStore, method: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "PART_BYTES", SMALLEST_PART_BYTES)
    content = os.urandom(13 << 20)
    chunks = (content[at : at + (3 << 20)] for at in range(0, len(content), 3 << 20))
    faulty.proxy.plan(method, *[fault, None] * 5)

    faulty.store.create_from("k", chunks)

    assert faulty.direct.get("k") == content
    assert not faulty.store.create_from("k", (b"x" * (6 << 20) for _ in range(2)))
    assert faulty.direct.get("k") == content


@pytest.mark.parametrize("fault", AFTER_APPLY)
def test_a_put_and_a_delete_whose_answers_are_lost_are_done(faulty: FaultyStore, fault: Fault) -> None:
    faulty.proxy.plan(WRITES[faulty.kind], fault)
    faulty.store.put("k", b"x")
    assert faulty.direct.get("k") == b"x"
    faulty.proxy.plan("DELETE", fault)
    faulty.store.delete("k")
    with pytest.raises(NotFound):
        faulty.direct.get("k")


@pytest.mark.parametrize("fault", ["503_before", "reset_before"])
def test_calls_are_retried_until_they_pass_and_counted(faulty: FaultyStore, fault: Fault) -> None:
    write, head = WRITES[faulty.kind], HEADS[faulty.kind]
    three = [fault] * 3
    faulty.proxy.plan(write, *three)
    assert faulty.store.create("k", b"content")
    faulty.proxy.plan("GET", *three)
    assert faulty.store.get("k") == b"content"
    faulty.proxy.plan(head, *three)
    assert faulty.store.head("k").size_bytes == 7
    faulty.proxy.plan("GET", *three)
    assert [found.key for found in faulty.store.list("")] == ["k"]
    faulty.proxy.plan("DELETE", *three)
    faulty.store.delete("k")
    # One try is one call on the wire: nobody below retries as well. Only when a connection that was kept from an
    # earlier call turns out to be closed does the HTTP client open another by itself, once.
    assert len(faulty.proxy.calls) == 5 * 4
    counts = faulty.tally.read()
    assert counts.keys() == {"create", "get", "head", "list", "delete"}
    for each in counts.values():
        assert each.tries == 3 or (fault == "reset_before" and 1 <= each.tries <= 3)
        assert each.given_up == 0


def test_a_retry_is_logged_without_the_content(faulty: FaultyStore, caplog: pytest.LogCaptureFixture) -> None:
    faulty.proxy.plan(WRITES[faulty.kind], "503_before")
    with caplog.at_level(logging.WARNING, logger="connectors"):
        faulty.store.put("a/key", b"a secret prompt")
    (record,) = [each for each in caplog.records if each.name == "connectors.stores.retry"]
    assert record.getMessage().startswith("put: try 1 failed, the next one in 0.0 s: ")
    assert "a/key" in record.getMessage()
    assert "503" in record.getMessage()
    assert "secret" not in caplog.text


def test_a_short_answer_is_read_again(faulty: FaultyStore) -> None:
    content = os.urandom(300_000)
    faulty.direct.put("k", content)
    etag = faulty.direct.head("k").etag
    faulty.proxy.plan("GET", "truncated")
    assert faulty.store.get("k") == content
    faulty.proxy.plan("GET", "truncated")
    assert faulty.store.get_range("k", 1000, 200_000, etag=etag) == content[1000:200_000]
    assert wire_calls(faulty, "GET") == 4


def test_a_read_that_is_tried_again_is_still_of_the_planned_version(faulty: FaultyStore) -> None:
    faulty.direct.put("k", b"one")
    etag = faulty.direct.head("k").etag
    faulty.direct.put("k", b"two")
    faulty.proxy.plan("GET", "503_before")
    with pytest.raises(Changed, match=f"expected version {re.escape(etag)}, found"):
        faulty.store.get_range("k", 0, 3, etag=etag)
    # The read itself carries the condition; only then is the version that stands there asked for.
    assert faulty.proxy.calls == ["GET", "GET", HEADS[faulty.kind]]
    faulty.proxy.calls.clear()
    faulty.store.get_range("k", 0, 3, etag=faulty.direct.head("k").etag)
    assert faulty.proxy.calls == ["GET"]


@pytest.mark.parametrize("size_bytes", [10, 8 << 20])
def test_a_write_that_hangs_is_given_up_and_tried_again(faulty: FaultyStore, size_bytes: int) -> None:
    content = b"x" * size_bytes
    write = WRITES[faulty.kind]
    faulty.proxy.plan(write, "hang")
    store = faulty.impatient(30)
    started_s = time.monotonic()
    assert create_once(store, "k", content) == content
    assert time.monotonic() - started_s < 15
    assert faulty.tally.read()["create"].tries >= 1


def test_a_server_that_hangs_for_ever_is_unavailable_in_bounded_time(faulty: FaultyStore) -> None:
    faulty.direct.put("k", b"x")
    hangs: list[Fault] = ["hang"] * 20
    for method in {"GET", "DELETE", HEADS[faulty.kind]}:
        faulty.proxy.plan(method, *hangs)
    store = faulty.impatient(0.1, read_s=0.2)
    for call in (
        lambda: store.get("k"),
        lambda: store.get_range("k", 0, 1),
        lambda: store.head("k"),
        lambda: list(store.list("")),
        lambda: store.delete("k"),
    ):
        started_s = time.monotonic()
        with pytest.raises(Unavailable, match="no proper answer"):
            call()
        assert time.monotonic() - started_s < 5


def test_a_server_that_stays_down_is_unavailable(faulty: FaultyStore) -> None:
    faults: list[Fault] = ["503_before"] * 200
    faulty.proxy.plan(WRITES[faulty.kind], *faults)
    with pytest.raises(Unavailable, match=r"/k: .*HTTP 503.*gave up after \d+ tries"):
        faulty.impatient(0.3).create("k", b"x")
    assert faulty.tally.read()["create"] == Retried(
        tries=len(faulty.proxy.calls) - 1, waited_s=faulty.tally.read()["create"].waited_s, given_up=1
    )


def test_a_jobs_heartbeat_and_its_end_count_what_was_retried(faulty: FaultyStore) -> None:
    """Through the proxy, by the tally of the process, as a worker has it."""
    faulty.direct.put("in.jsonl", b'{"custom_id":"a","body":{"prompt":"x"}}\n')
    spec = make_spec(inputs=(f"{faulty.store.uri}/in.jsonl",), output=f"{faulty.store.uri}/out")
    job = JobStore.open(spec.output)
    job.create_spec(spec)
    faulty.proxy.plan("GET", "503_before", "503_before")
    plan = job.create_plan(make_plan(spec))
    lease = claim(job, HOLDER, clock=FakeClock())
    pulse = Pulse(job, lease, clock=FakeClock(), on_lost=lambda: None)
    pulse.planned(plan)
    faulty.proxy.plan(WRITES[faulty.kind], "503_before")
    before = retries()
    pulse.writing()
    pulse.writing()

    assert before >= 2
    assert count_retries(job) == retries() == before + 1
