"""Models that lie in an object store."""

from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from stores import BUCKET

from connectors.errors import Forbidden, NotFound
from connectors.stores.store import Store
from pipelines.models.fetch import local_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "batchctl" / "models"


@pytest.fixture
def model(s3_store: Store) -> str:
    """The URI of a model of two files, one in a folder."""
    s3_store.put("config.json", b"{}")
    s3_store.put("weights/model.safetensors", b"w" * 100_000)
    return s3_store.uri


@pytest.mark.parametrize("model", ["org/name", "/srv/models/one"])
def test_what_is_in_no_store_stays_as_it_is(model: str, cache: Path) -> None:
    assert local_model(model) == model
    assert not cache.exists()


def test_a_model_in_a_store_is_copied_whole(model: str) -> None:
    folder = Path(local_model(model))

    assert (folder / "config.json").read_bytes() == b"{}"
    assert (folder / "weights" / "model.safetensors").read_bytes() == b"w" * 100_000


def test_the_same_version_is_copied_once(model: str) -> None:
    folder = Path(local_model(model))
    (folder / "mark").touch()

    assert local_model(model) == str(folder)
    assert (folder / "mark").exists()


def test_another_version_is_another_folder(model: str, s3_store: Store) -> None:
    before = local_model(model)
    s3_store.put("config.json", b'{"new": true}')

    after = local_model(model)

    assert after != before
    assert Path(after, "config.json").read_bytes() == b'{"new": true}'
    assert Path(before, "config.json").read_bytes() == b"{}"


def test_nothing_but_the_model_is_left_behind(model: str, cache: Path) -> None:
    local_model(model)

    assert len(list(cache.iterdir())) == 1


@pytest.mark.usefixtures("s3_endpoint")
def test_no_objects_are_no_model() -> None:
    uri = f"s3://{BUCKET}/{uuid4().hex}"

    with pytest.raises(NotFound, match=f"{uri}: no objects there"):
        local_model(uri)


def test_a_key_cannot_leave_the_folder(model: str, s3_endpoint: str, cache: Path) -> None:
    escaping = f"{s3_endpoint}/{model.removeprefix('s3://')}/..%2F..%2Fescaped"
    urlopen(Request(escaping, data=b"!", method="PUT")).close()  # our own store writes no such key

    with pytest.raises(Forbidden, match="escaped"):
        local_model(model)

    assert not list(cache.parent.rglob("escaped"))
    assert not list(cache.iterdir())
