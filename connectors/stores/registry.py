"""From an address to the store behind it. Knows nothing of what is kept there."""

import os
from pathlib import Path

from connectors.errors import ConditionalWritesIgnored, StoreError
from connectors.stores.local import LocalStore
from connectors.stores.memory import MemoryStore
from connectors.stores.store import Store, create_once
from connectors.uri import Uri, parse_uri


def open_store(uri: str) -> Store:
    """The store whose root is at this address; nothing is read or made yet. Raises BadUri."""
    return _store_at(parse_uri(uri))


def locate(uri: str) -> tuple[Store, str]:
    """The store and the key of one object to read. A symbolic link to a local file is followed. Raises BadUri."""
    return store_and_key(parse_uri(uri))


def store_and_key(uri: Uri) -> tuple[Store, str]:
    """As `locate`, of a parsed address."""
    if uri.scheme == "file":
        path = uri.path
        if os.path.islink(path):  # noqa: PTH114 - a job may have many small files
            path = os.path.realpath(path)  # which leaves a link to itself as it is, for whoever opens it to tell
        folder, _, name = path.rpartition("/")
        return LocalStore(Uri("file", "", folder or "/")), name
    return _store_at(Uri(uri.scheme, uri.bucket, "")), uri.path


def probe(store: Store, prefix: str, nonce: str) -> None:
    """Try that the store creates only once. Raises ConditionalWritesIgnored. Leaves nothing behind."""
    key = f"{prefix.rstrip('/')}/probe-{nonce}".lstrip("/")
    first, second = f"first {nonce}".encode(), f"second {nonce}".encode()
    try:
        if create_once(store, key, first) != first:
            raise StoreError(f"{store.uri}/{key}: an object of that name already stood there; use a fresh nonce")
        if create_once(store, key, second) != first:
            raise ConditionalWritesIgnored(
                f"{store.uri} ignores conditional writes: a second create of {key} overwrote the first, so two workers "
                "could overwrite each other's results. Use a store with If-None-Match (S3, GCS, Azure, a local disk)."
            )
    finally:
        store.delete(key)


def torn_files(uri: str) -> list[Path]:
    """What killed writers have left half written in a store: on a local disk alone, since other stores keep no such."""
    parsed = parse_uri(uri)
    return list(LocalStore(parsed).torn_files()) if parsed.scheme == "file" else []


def _store_at(uri: Uri) -> Store:
    if uri.scheme == "file":
        return LocalStore(uri)
    if uri.scheme == "memory":
        return MemoryStore(uri)
    from connectors.stores.cloud import open_cloud_store

    return open_cloud_store(uri)
