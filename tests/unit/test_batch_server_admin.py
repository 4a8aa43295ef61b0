"""Keys and models of a server."""

from datetime import timedelta

import pytest
from jobs import NOW, FakeClock

from batch.clock import rfc3339
from batch.errors import UsageError
from batch.records.shelf import Shelf
from batch.server.admin.keys import HITS_S, MISSES_S, ApiKeys, Role
from batch.server.admin.models import Models, ServedModel
from connectors.stores.store import Store

AT = rfc3339(NOW)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# --- keys ---


def test_a_key_is_found_by_its_secret_which_is_not_stored(memory_store: Store, clock: FakeClock) -> None:
    keys = ApiKeys(Shelf(memory_store), clock, lambda: "s" * 43)
    secret, key = keys.create("team", user_id="ada", role=Role.VIEWER)
    assert secret == "bk_" + "s" * 43
    assert keys.find(secret) == key
    assert keys.find(secret + "x") is None
    stored = [memory_store.get(found.key) + found.key.encode() for found in memory_store.list("")]
    assert all(b"s" * 20 not in content for content in stored)


def test_a_deleted_key_lets_nobody_in_any_more(memory_store: Store, clock: FakeClock) -> None:
    ours, others = (ApiKeys(Shelf(memory_store), clock, lambda: "t" * 43) for _ in range(2))
    secret, key = ours.create("team")
    assert others.find(secret) == key
    assert not ours.delete("other", key.key_id)
    assert ours.delete("team", key.key_id)
    assert ours.find(secret) is None
    clock.sleep(HITS_S - 1)
    assert others.find(secret) == key  # another process has not looked yet
    clock.sleep(1)
    assert others.find(secret) is None


def test_a_new_key_lets_in_after_a_moment_where_it_was_tried_before(memory_store: Store, clock: FakeClock) -> None:
    ours, others = (ApiKeys(Shelf(memory_store), clock, lambda: "u" * 43) for _ in range(2))
    assert others.find("bk_" + "u" * 43) is None
    secret, key = ours.create("team")
    assert others.find(secret) is None
    clock.sleep(MISSES_S)
    assert others.find(secret) == key


def test_an_expired_key_lets_nobody_in(memory_store: Store, clock: FakeClock) -> None:
    keys = ApiKeys(Shelf(memory_store), clock, lambda: "v" * 43)
    secret, key = keys.create("team", expires_at=rfc3339(clock.now() + timedelta(seconds=10)))
    assert keys.find(secret) == key
    clock.sleep(10)
    assert keys.find(secret) is None


# --- models ---


def test_the_last_change_of_a_model_holds(memory_store: Store) -> None:
    models = Models(Shelf(memory_store))
    models.create(ServedModel("m", "one", AT))
    assert models.create(ServedModel("m", "one", "2027-01-01T00:00:00.000000Z")).created_at == AT
    with pytest.raises(UsageError, match="registered already, as one"):
        models.create(ServedModel("m", "two", AT))
    for number in range(12):
        models.update(ServedModel("m", f"v{number}", AT))
    assert models.existing("m").source == "v11"
    models.delete("m")
    assert models.get("m") is None
    models.create(ServedModel("m", "again", AT))
    assert [model.source for model in models.list()] == ["again"]


def test_an_engine_has_its_base_and_all_adapters_of_it(memory_store: Store) -> None:
    models = Models(Shelf(memory_store))
    models.create(ServedModel("base", "b", AT, engine_args={"max_model_len": "8k"}))
    models.create(ServedModel("one", "l1", AT, base="base"))
    models.create(ServedModel("two", "l2", AT, base="base"))
    engine = models.engine_of("two")
    assert (engine.model, engine.served_model_names, engine.lora) == ("b", ("base",), {"one": "l1", "two": "l2"})
    assert engine == models.engine_of("base")
    with pytest.raises(UsageError, match="the base of one, two"):
        models.delete("base")
    with pytest.raises(UsageError, match="is an adapter itself"):
        models.create(ServedModel("three", "l3", AT, base="two"))
    for name in ("", "../x", "a/b", "-x", "x" * 129):
        with pytest.raises(UsageError, match="model name"):
            models.create(ServedModel(name, "s", AT))
        assert models.get(name) is None
