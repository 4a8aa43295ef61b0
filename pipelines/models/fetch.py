"""Brings a model or an adapter from an object store onto this machine. Knows nothing of what is in its files."""

import hashlib
import os
import tempfile
from pathlib import Path

from connectors.errors import NotFound
from connectors.stores.registry import open_store

STORE_SCHEMES = ("s3://", "gs://", "az://", "abfs://")


def local_model(model: str) -> str:
    """Return where the model or adapter is on this machine: a folder, or the hub id as it is.

    One in a store is copied once for each version of its objects, under the user's cache folder.
    Raises NotFound when there is nothing under the URI.
    """
    if not model.startswith(STORE_SCHEMES):
        return model
    store = open_store(model)
    objects = list(store.list(""))
    if not objects:
        raise NotFound(
            f"{model}: no objects there; a model is a folder with a config.json, "
            "an adapter one with an adapter_config.json"
        )
    version = hashlib.sha256("\n".join(f"{found.key} {found.etag}" for found in objects).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "batchctl" / "models" / version
    if folder.exists():
        return str(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as arriving:
        for found in objects:
            target = Path(arriving, found.key)
            target.parent.mkdir(parents=True, exist_ok=True)
            with store.open(found.key, etag=found.etag) as source, target.open("wb") as copy:
                while block := source.read(8 << 20):
                    copy.write(block)
        try:
            Path(arriving).rename(folder)
        except OSError:  # another engine of this machine was faster
            if not folder.exists():
                raise
        Path(arriving).mkdir(exist_ok=True)
    return str(folder)
