"""Fixtures: a store of each kind, and the cloud services on loopback behind a proxy with faults on demand."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import servers
from fake_gcs import FakeGcs
from fault_proxy import FaultProxy

from connectors.stores.cloud import CloudStore
from connectors.stores.cloud.service import Timeouts
from connectors.stores.registry import open_store
from connectors.stores.retry import Retry, Tally
from connectors.stores.store import Store
from connectors.uri import parse_uri

BUCKET = "test-bucket"
CLOUDS = tuple(pytest.param(kind, marks=pytest.mark.cloud) for kind in ("s3", "azure", "gcs"))
SCHEMES = {"s3": "s3", "azure": "az", "gcs": "gs"}
# One call of ours is one of these on the wire.
WRITES = {"s3": "PUT", "azure": "PUT", "gcs": "POST"}
HEADS = {"s3": "HEAD", "azure": "HEAD", "gcs": "GET"}
_AZURE_ACCOUNT, _AZURE_KEY = "teststore", base64.b64encode(b"a key for tests, known to all.").decode()


@dataclass(frozen=True, slots=True)
class FaultyStore:
    """A cloud store through a proxy, with fast retries that are counted, and the same root without the proxy."""

    kind: str
    store: CloudStore
    direct: Store
    proxy: FaultProxy
    tally: Tally

    def impatient(self, budget_s: float, *, read_s: float = 0.5) -> CloudStore:
        """Another store there with less patience."""
        retry = Retry(budget_s=budget_s, first_delay_s=0.01, max_delay_s=0.1, tally=self.tally)
        return CloudStore(
            parse_uri(self.store.uri), retry, timeouts=Timeouts(connect_s=1, read_s=read_s, slowest_bytes_per_s=8 << 20)
        )


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def memory_store() -> Store:
    return open_store(f"memory://test-{uuid4().hex}/root")


@pytest.fixture
def s3_store(s3_endpoint: str) -> Store:
    return _cloud_store("s3")


@pytest.fixture
def azure_store(azure_endpoint: str) -> Store:
    return _cloud_store("azure")


@pytest.fixture
def gcs_store(gcs_endpoint: str) -> Store:
    return _cloud_store("gcs")


@pytest.fixture(params=["local", "memory", *CLOUDS])
def store(request: pytest.FixtureRequest) -> Store:
    """Each kind in turn; a server starts only when its turn comes."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture(params=CLOUDS)
def cloud_store(request: pytest.FixtureRequest) -> Store:
    """Each cloud service in turn."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture(params=CLOUDS)
def faulty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    """Each cloud service in turn, behind a proxy; stores opened after this go through it too."""
    kind = request.param
    direct = request.getfixturevalue(f"{kind}_store")
    direct.put("opened before the proxy", b"x")
    direct.delete("opened before the proxy")
    tally = Tally()
    retry = Retry(budget_s=10, first_delay_s=0.01, max_delay_s=0.05, tally=tally)
    with FaultProxy(request.getfixturevalue(f"{kind}_endpoint")) as proxy:
        for name, value in _environment(kind, proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        store = CloudStore(parse_uri(direct.uri), retry, timeouts=Timeouts(connect_s=2, read_s=1))
        yield FaultyStore(kind, store, direct, proxy, tally)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a running S3 server with a bucket; the environment of this process points to it."""
    with servers.moto() as endpoint, _pointing_to("s3", endpoint):
        servers.request("PUT", f"{endpoint}/{BUCKET}")
        yield endpoint


@pytest.fixture(scope="session")
def azure_endpoint() -> Iterator[str]:
    """The address of a running Azure Blob server with a container; the environment of this process points to it."""
    pytest.importorskip("adlfs", reason="adlfs is not installed")
    from azure.storage.blob import ContainerClient

    with servers.azurite(f"{_AZURE_ACCOUNT}:{_AZURE_KEY}") as endpoint, _pointing_to("azure", endpoint):
        connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
        with ContainerClient.from_connection_string(connection, BUCKET) as container:
            container.create_container()
        yield endpoint


@pytest.fixture(scope="session")
def gcs_endpoint() -> Iterator[str]:
    """The address of the fake of Google Cloud Storage; the environment of this process points to it."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed")
    with FakeGcs(BUCKET) as fake, _pointing_to("gcs", fake.endpoint):
        yield fake.endpoint


def _cloud_store(kind: str) -> Store:
    return open_store(f"{SCHEMES[kind]}://{BUCKET}/{uuid4().hex}")


@contextmanager
def _pointing_to(kind: str, endpoint: str) -> Iterator[None]:
    """The environment without the user's own accounts."""
    prefixes = {"s3": ("AWS_",), "azure": ("AZURE_",), "gcs": ("GOOGLE_", "GCSFS_", "STORAGE_EMULATOR")}[kind]
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(prefixes)]:
            environment.delenv(name)
        for name, value in _environment(kind, endpoint).items():
            environment.setenv(name, value)
        yield


def _environment(kind: str, endpoint: str) -> dict[str, str]:
    if kind == "azure":
        account = f"AccountName={_AZURE_ACCOUNT};AccountKey={_AZURE_KEY};BlobEndpoint={endpoint}/{_AZURE_ACCOUNT}"
        return {"AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;{account}"}
    if kind == "gcs":
        # The second makes gcsfs start twice as fast in the processes of tests; our client is the plain one anyway.
        return {"STORAGE_EMULATOR_HOST": endpoint, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
