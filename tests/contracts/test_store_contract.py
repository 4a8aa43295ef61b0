"""What every Store promises: on a local directory, in memory, on S3 and Azure servers and on a fake of GCS."""

import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from stores import CLOUDS

from connectors.errors import Changed, ConditionalWritesIgnored, Forbidden, NotFound
from connectors.stores.registry import open_store, probe
from connectors.stores.store import Store, create_once

LEAVING_KEYS = ["../x", "a/../../x", "/etc/passwd", "", "a//b", "a/./b", "a\0b", "a\nb", "..", "a\ud800b"]


def test_create_puts_once_and_never_overwrites(store: Store) -> None:
    assert store.create("a/b.json", b"first")
    assert not store.create("a/b.json", b"second")
    assert store.get("a/b.json") == b"first"


def test_the_same_content_is_created_once_too(store: Store) -> None:
    content = b"same"
    assert [store.create("k", content) for _ in range(3)] == [True, False, False]


def test_create_refuses_empty_content(store: Store) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        store.create("k", b"")
    with pytest.raises(NotFound):
        store.get("k")


@pytest.mark.parametrize("sizes", [[1], [0, 3, 0], [5 << 20] * 3, [9 << 20] * 4])
def test_content_in_chunks_is_created_once_and_whole(store: Store, sizes: list[int]) -> None:
    chunks = [bytes([65 + n]) * size for n, size in enumerate(sizes)]

    assert store.create_from("a/b", iter(chunks))
    assert not store.create_from("a/b", (b"other" * len(chunk) for chunk in chunks))

    assert store.get("a/b") == b"".join(chunks)
    assert [found.key for found in store.list("")] == ["a/b"]


def test_chunks_without_a_byte_are_refused(store: Store) -> None:
    for chunks in ([], [b"", b""]):
        with pytest.raises(ValueError, match="non-empty"):
            store.create_from("k", chunks)
    assert list(store.list("")) == []


@pytest.mark.parametrize("size_bytes", [10, 20 << 20])
def test_chunks_that_break_off_leave_nothing(store: Store, size_bytes: int) -> None:
    def breaking_off() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * size_bytes
        raise RuntimeError("the sender is gone")

    with pytest.raises(RuntimeError, match="the sender is gone"):
        store.create_from("k", breaking_off())
    assert list(store.list("")) == []
    assert store.create_from("k", [b"x" * size_bytes] * 3)


def test_put_overwrites_and_accepts_empty(store: Store) -> None:
    store.put("k", b"old")
    store.put("k", b"")
    assert store.get("k") == b""
    store.put("k", b"new")
    assert store.get("k") == b"new"


def test_a_store_tells_by_its_own_clock_when_it_wrote_an_object(store: Store) -> None:
    began_s = time.time()
    store.put("a", b"1")

    written_at_s = store.head("a").modified_at_s

    assert (written_at_s is None) == store.uri.startswith("memory:")
    assert written_at_s is None or abs(written_at_s - began_s) < 120


def test_absent_objects_are_not_found(store: Store) -> None:
    for read in (
        lambda: store.get("no/such"),
        lambda: store.head("no/such"),
        lambda: store.open("no/such"),
        lambda: store.get_range("no/such", 0, 3),
    ):
        with pytest.raises(NotFound, match="no/such"):
            read()
    store.put("dir/child", b"x")
    with pytest.raises(NotFound):
        store.head("dir")
    with pytest.raises(NotFound):
        store.get("dir")


def test_ranges(store: Store) -> None:
    store.put("k", bytes(range(100)))
    assert store.get_range("k", 10, 20) == bytes(range(10, 20))
    assert store.get_range("k", 90, 500) == bytes(range(90, 100))
    assert store.get_range("k", 100, 200) == b""
    assert store.get_range("k", 7, 7) == b""


def test_a_changed_object_is_told_by_its_etag(store: Store) -> None:
    store.put("k", b"one")
    before = store.head("k")
    assert before.size_bytes == 3
    assert store.head("k") == before
    assert store.get_range("k", 0, 3, etag=before.etag) == b"one"
    stream = store.open("k", etag=before.etag)
    assert stream.read() == b"one"
    stream.close()
    store.put("k", b"two")
    assert store.head("k").etag != before.etag
    with pytest.raises(Changed, match="k changed"):
        store.get_range("k", 0, 3, etag=before.etag)
    with pytest.raises(Changed, match="k changed"):
        store.open("k", etag=before.etag)


def test_open_is_a_seekable_stream(store: Store) -> None:
    content = bytes(range(256)) * 9000
    store.put("k", content)
    with store.open("k") as stream:
        assert stream.read(1000) == content[:1000]
        stream.seek(-10, 2)
        assert stream.read() == content[-10:]
        stream.seek(5)
        assert stream.read(7) == content[5:12]
        stream.seek(0)
        assert stream.read() == content


def test_list_is_by_text_prefix_sorted_and_recursive(store: Store) -> None:
    keys = ["b/2", "b/10", "b/1/x", "bb", "a", "b/1-y"]
    for key in keys:
        store.put(key, key.encode())
    assert [found.key for found in store.list("")] == sorted(keys)
    assert [found.key for found in store.list("b/")] == ["b/1-y", "b/1/x", "b/10", "b/2"]
    assert [found.key for found in store.list("b/1")] == ["b/1-y", "b/1/x", "b/10"]
    assert [found.key for found in store.list("b")] == ["b/1-y", "b/1/x", "b/10", "b/2", "bb"]
    assert list(store.list("nothing/here")) == []
    for prefix in ("", "b/", "b/1", "b", "nothing/here"):
        assert list(store.keys(prefix)) == [found.key for found in store.list(prefix)]
    assert list(store.list("b/")) == [store.head(key) for key in ("b/1-y", "b/1/x", "b/10", "b/2")]


def test_a_listing_shows_what_was_just_made_and_deleted(store: Store) -> None:
    assert list(store.list("p/")) == []
    store.create("p/1", b"x")
    assert [found.key for found in store.list("p/")] == ["p/1"]
    store.delete("p/1")
    assert list(store.list("p/")) == []
    assert store.create("p/1", b"again")


def test_delete_of_an_absent_object_is_fine(store: Store) -> None:
    store.delete("no/such")
    store.put("k", b"x")
    store.delete("k")
    store.delete("k")


@pytest.mark.parametrize("key", LEAVING_KEYS)
def test_keys_that_leave_the_root_are_refused(store: Store, key: str) -> None:
    for call in (
        lambda: store.create(key, b"x"),
        lambda: store.create_from(key, [b"x"]),
        lambda: store.put(key, b"x"),
        lambda: store.get(key),
        lambda: store.get_range(key, 0, 1),
        lambda: store.open(key),
        lambda: store.head(key),
        lambda: store.delete(key),
    ):
        with pytest.raises(Forbidden, match="refused"):
            call()


def test_eight_threads_creating_have_one_winner(store: Store) -> None:
    for attempt in range(8):
        contents = [f"{attempt} {thread} ".encode() * 2000 for thread in range(8)]
        barrier = Barrier(8)

        def race(content: bytes, key: str = f"race/{attempt}", barrier: Barrier = barrier) -> tuple[bool, bytes]:
            barrier.wait()
            return store.create(key, content), store.get(key)

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(race, contents))
        winners = [content for content, (won, _) in zip(contents, outcomes, strict=True) if won]
        assert len(winners) == 1
        assert {seen for _, seen in outcomes} == set(winners)


RACER = """
import sys
from connectors.stores.registry import open_store
store = open_store(sys.argv[1])
store.head("go")
print("ready", flush=True)
sys.stdin.readline()
for n in range(20):
    content = (sys.argv[2] + " %d " % n).encode() * 5000
    print(n, store.create("race/%d" % n, content), store.get("race/%d" % n) == content, flush=True)
"""


@pytest.mark.parametrize("kind", ["local", *CLOUDS])
def test_four_processes_creating_have_one_winner_each_time(kind: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(f"{kind}_store")
    store.put("go", b"go")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, store.uri, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    for n in range(20):
        # A process that won reads its own content back; one that lost reads another's.
        assert sorted(lines[n] for lines in outcomes) == [f"{n} False False"] * 3 + [f"{n} True True"]


def test_a_reader_never_sees_a_torn_object(store: Store) -> None:
    contents = {bytes([65 + n]) * 300_000 for n in range(4)}
    store.put("k", min(contents))
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(store.put, "k", content) for content in contents for _ in range(5)]
        seen = {store.get("k") for _ in range(20)}
        for write in writes:
            write.result()
    assert seen <= contents


def test_create_once_gives_what_stands_there(store: Store) -> None:
    assert create_once(store, "k", b"mine") == b"mine"
    assert create_once(store, "k", b"theirs") == b"mine"


def test_the_probe_passes_and_leaves_nothing(store: Store) -> None:
    probe(store, "_job", "n1")
    probe(store, "", "n2")
    assert list(store.list("")) == []


class OverwritingStore:
    """A store whose server ignores If-None-Match."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def create(self, key: str, content: bytes) -> bool:
        self._inner.put(key, content)
        return True


def test_the_probe_refuses_a_store_that_overwrites(memory_store: Store) -> None:
    with pytest.raises(ConditionalWritesIgnored, match="ignores conditional writes"):
        probe(OverwritingStore(memory_store), "_job", "n1")  # type: ignore[arg-type]
    assert list(memory_store.list("")) == []


def test_a_store_travels_by_pickle(store: Store) -> None:
    store.put("k", b"x")
    copy: Store = pickle.loads(pickle.dumps(store))
    assert copy.uri == store.uri
    assert copy.get("k") == b"x"


def test_the_uri_opens_the_same_store(store: Store) -> None:
    store.put("k", b"x")
    assert open_store(store.uri).get("k") == b"x"
    assert open_store(store.uri).uri == store.uri
