"""The S3 store when the network and the server misbehave, seen through a proxy that counts calls on the wire."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from fault_proxy import Fault, FaultProxy

from connectors.cloud import S3Store
from connectors.errors import Changed, Forbidden, NotFound, StoreError, Unavailable
from connectors.registry import open_store
from connectors.retry import Retry
from connectors.store import Store, create_once
from connectors.uri import parse_uri


@pytest.fixture
def faulty(s3_store: Store, s3_faults: FaultProxy) -> S3Store:
    """The same root as s3_store, through the proxy, with fast retries."""
    return S3Store(parse_uri(s3_store.uri), Retry(budget_s=5, first_delay_s=0.01, max_delay_s=0.05))


@pytest.mark.parametrize("fault", ["lost_ack", "500_after"])
def test_a_create_whose_answer_is_lost_is_still_ours(
    faulty: S3Store, s3_faults: FaultProxy, s3_store: Store, fault: Fault
) -> None:
    s3_faults.plan("PUT", fault)
    assert create_once(faulty, "k", b"ours") == b"ours"
    assert s3_faults.calls.count("PUT") == 2
    assert s3_store.get("k") == b"ours"


@pytest.mark.parametrize("fault", ["lost_ack", "500_after"])
def test_a_create_that_lost_is_never_taken_for_ours(
    faulty: S3Store, s3_faults: FaultProxy, s3_store: Store, fault: Fault
) -> None:
    s3_store.put("k", b"theirs")
    s3_faults.plan("PUT", fault)
    assert create_once(faulty, "k", b"ours") == b"theirs"


@pytest.mark.parametrize("fault", ["503_before", "reset_before"])
def test_calls_are_retried_until_they_pass(faulty: S3Store, s3_faults: FaultProxy, fault: Fault) -> None:
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        s3_faults.plan(method, fault, fault, fault)
    assert faulty.create("k", b"content")
    assert faulty.get("k") == b"content"
    assert faulty.head("k").size_bytes == 7
    faulty.delete("k")
    # One client call is one wire call: nobody below retries as well.
    assert [s3_faults.calls.count(method) for method in ("PUT", "GET", "HEAD", "DELETE")] == [4, 4, 4, 4]


def test_a_listing_is_retried(faulty: S3Store, s3_faults: FaultProxy) -> None:
    faulty.put("k", b"x")
    s3_faults.plan("GET", "503_before", "reset_before")
    assert [found.key for found in faulty.list("")] == ["k"]


def test_a_short_answer_is_read_again(faulty: S3Store, s3_faults: FaultProxy) -> None:
    content = os.urandom(300_000)
    faulty.put("k", content)
    s3_faults.plan("GET", "truncated", "truncated")
    assert faulty.get("k") == content
    s3_faults.plan("GET", "truncated")
    assert faulty.get_range("k", 1000, 200_000, etag=faulty.head("k").etag) == content[1000:200_000]


def test_a_server_that_stays_down_is_unavailable(s3_store: Store, s3_faults: FaultProxy) -> None:
    store = S3Store(parse_uri(s3_store.uri), Retry(budget_s=0.3, first_delay_s=0.01, max_delay_s=0.1))
    faults: list[Fault] = ["503_before"] * 200
    s3_faults.plan("PUT", *faults)
    with pytest.raises(Unavailable, match=r"/k: .*HTTP 503.*gave up after \d+ tries"):
        store.create("k", b"x")


def test_an_endpoint_nobody_listens_on_is_unavailable(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="is the endpoint right"):
        S3Store(parse_uri("s3://test-bucket"), Retry(budget_s=0.1)).get("k")


def test_a_missing_bucket_is_not_found(s3_endpoint: str) -> None:
    store = open_store("s3://no-such-bucket/x")
    with pytest.raises(NotFound):
        store.get("k")
    with pytest.raises(NotFound):
        store.create("k", b"x")


def test_missing_credentials_are_forbidden(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Forbidden, match="AWS_ACCESS_KEY_ID"):
        open_store("s3://test-bucket").get("k")


def test_an_open_stream_notices_a_change(s3_store: Store) -> None:
    s3_store.put("k", bytes(3 << 20))
    with s3_store.open("k") as stream:
        stream.read(10)
        s3_store.put("k", b"x" * (3 << 20))
        stream.seek(2 << 20)
        with pytest.raises(Changed):
            stream.read(10)


def test_a_store_opened_before_a_fork_works_in_the_child(s3_store: Store) -> None:
    script = (
        "import os, sys\n"
        "from connectors.registry import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "store.put('parent', b'1')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    store.put('child', store.get('parent') + b'2')\n"
        "    os._exit(0)\n"
        "status = os.waitpid(child, 0)[1]\n"
        "print(status, store.get('child'))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, s3_store.uri],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert answer.stdout == "0 b'12'\n"


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("az", "adlfs")])
def test_a_missing_client_says_what_to_install(scheme: str, package: str) -> None:
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(StoreError, match=f"pip install {package}"):
        open_store(f"{scheme}://bucket").get("k")
