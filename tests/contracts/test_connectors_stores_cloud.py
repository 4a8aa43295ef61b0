"""What is particular to cloud stores: accounts, endpoints, forks, contents and names that clients get wrong."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import servers
from fake_gcs import PAGE_OBJECTS
from stores import BUCKET, SCHEMES

from connectors.errors import Changed, ConditionalWritesIgnored, Forbidden, NotFound, StoreError, Unavailable
from connectors.stores.cloud import CloudStore
from connectors.stores.registry import open_store, probe
from connectors.stores.retry import Retry
from connectors.stores.store import Store
from connectors.uri import parse_uri

pytestmark = pytest.mark.cloud

NOBODY = "http://127.0.0.1:9"


def test_a_server_that_ignores_conditions_is_refused_at_the_start(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.s3rver(tmp_path, BUCKET) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "S3RVER")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "S3RVER")
        store = open_store(f"s3://{BUCKET}/job")
        with pytest.raises(ConditionalWritesIgnored) as refusal:
            probe(store, "_job", "n1")
        assert str(refusal.value) == (
            f"s3://{BUCKET}/job ignores conditional writes: a second create of _job/probe-n1 overwrote the first, "
            "so two workers could overwrite each other's results. Use a store with If-None-Match "
            "(S3, GCS, Azure, a local disk)."
        )
        assert list(store.list("")) == []


@pytest.mark.parametrize(
    ("kind", "variable", "value"),
    [
        ("s3", "AWS_ENDPOINT_URL", NOBODY),
        ("azure", "AZURE_STORAGE_CONNECTION_STRING", f"AccountName=a;AccountKey=aa==;BlobEndpoint={NOBODY}/a"),
        ("gcs", "STORAGE_EMULATOR_HOST", NOBODY),
    ],
)
def test_an_endpoint_nobody_listens_on_is_unavailable(
    kind: str, variable: str, value: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.getfixturevalue(f"{kind}_endpoint")
    monkeypatch.setenv(variable, value)
    store = CloudStore(parse_uri(f"{SCHEMES[kind]}://{BUCKET}"), Retry(budget_s=0.1))
    with pytest.raises(Unavailable, match="is the endpoint right"):
        store.get("k")


def test_a_missing_bucket_is_not_found(cloud_store: Store) -> None:
    scheme = parse_uri(cloud_store.uri).scheme
    store = open_store(f"{scheme}://no-such-bucket/x")
    with pytest.raises(NotFound):
        store.get("k")
    with pytest.raises(NotFound):
        store.create("k", b"x")


def test_missing_google_credentials_are_forbidden(gcs_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(Forbidden, match="GOOGLE_APPLICATION_CREDENTIALS"):
        open_store("gs://test-bucket").get("k")


def test_missing_credentials_are_forbidden(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Forbidden, match="AWS_ACCESS_KEY_ID"):
        open_store("s3://test-bucket").get("k")


def test_an_unusable_account_is_said(azure_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "nonsense")
    with pytest.raises(StoreError, match="az://test-bucket/k: unable to connect to account"):
        open_store("az://test-bucket").get("k")


def test_a_wrong_key_is_forbidden(azure_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    account = f"AccountName=teststore;AccountKey=d3Jvbmc=;BlobEndpoint={azure_endpoint}/teststore"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
    with pytest.raises(Forbidden, match="access denied"):
        open_store("az://test-bucket").get("k")


def test_an_open_stream_notices_a_change(cloud_store: Store) -> None:
    cloud_store.put("k", bytes(3 << 20))
    with cloud_store.open("k") as stream:
        stream.read(10)
        cloud_store.put("k", b"x" * (3 << 20))
        stream.seek(2 << 20)
        with pytest.raises(Changed):
            stream.read(10)


def test_a_shorter_version_is_a_change_and_not_an_end(cloud_store: Store) -> None:
    cloud_store.put("k", b"0123456789")
    etag = cloud_store.head("k").etag
    cloud_store.put("k", b"01")
    with pytest.raises(Changed):
        cloud_store.get_range("k", 5, 10, etag=etag)


def test_an_empty_object_is_read(cloud_store: Store) -> None:
    cloud_store.put("k", b"")
    etag = cloud_store.head("k").etag
    assert cloud_store.get_range("k", 0, 10, etag=etag) == b""
    with cloud_store.open("k", etag=etag) as stream:
        assert stream.read() == b""


def test_a_content_may_hold_a_multipart_boundary(cloud_store: Store) -> None:
    content = b'{"prompt":"\n--==0==--\r\n--==0==--"}\n' * 3
    cloud_store.put("k", content)
    assert cloud_store.get("k") == content


def test_names_are_taken_as_they_are(cloud_store: Store) -> None:
    keys = sorted(["a b", "a+b", "a%2Fb", "a#1", "a?versionid=1", "a{0}b", "ä/☃", "a&b=c"])
    for key in keys:
        assert cloud_store.create(key, key.encode())
    assert [found.key for found in cloud_store.list("")] == keys
    assert [found.key for found in cloud_store.list("a%")] == ["a%2Fb"]
    for key in keys:
        assert cloud_store.get(key) == key.encode()
        cloud_store.delete(key)
    assert list(cloud_store.list("")) == []


def test_a_listing_has_every_page(gcs_store: Store) -> None:
    keys = [f"{n:04}" for n in range(3 * PAGE_OBJECTS + 1)]
    for key in keys:
        gcs_store.put(key, b"x")
    assert [found.key for found in gcs_store.list("")] == keys


def test_folders_of_an_account_with_a_hierarchy_are_no_objects(azure_store: Store) -> None:
    from azure.storage.blob import ContainerClient

    name = parse_uri(azure_store.uri).path
    azure_store.put("dir/k", b"x")
    connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    with ContainerClient.from_connection_string(connection, BUCKET) as container:
        container.upload_blob(f"{name}/dir", b"", metadata={"hdi_isfolder": "true"})
    assert [found.key for found in azure_store.list("")] == ["dir/k"]
    with pytest.raises(NotFound):
        azure_store.head("dir")


def test_a_whole_bucket_is_a_store(cloud_store: Store) -> None:
    uri = parse_uri(cloud_store.uri)
    root, prefix = open_store(f"{uri.scheme}://{uri.bucket}"), uri.path
    cloud_store.put("k", b"x")
    assert root.get(f"{prefix}/k") == b"x"
    assert [found.key for found in root.list(f"{prefix}/")] == [f"{prefix}/k"]


def test_a_store_opened_before_a_fork_works_in_the_child(cloud_store: Store) -> None:
    script = (
        "import os, sys\n"
        "from connectors.stores.registry import open_store\n"
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
        [sys.executable, "-c", script, cloud_store.uri],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert answer.stdout == "0 b'12'\n"
    # Nothing of the clients' own housekeeping reaches a person.
    assert answer.stderr == ""


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("az", "adlfs")])
def test_a_missing_client_says_what_to_install(scheme: str, package: str) -> None:
    script = (
        "import sys\n"
        f"sys.modules[{package!r}] = None\n"
        "from connectors.errors import StoreError\n"
        "from connectors.stores.registry import open_store\n"
        "try:\n"
        "    open_store(sys.argv[1]).get('k')\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, f"{scheme}://bucket/{uuid4().hex}"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    assert f"{scheme}:// needs the package {package}: pip install {package}" in answer.stdout
