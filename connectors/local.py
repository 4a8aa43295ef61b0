"""A store in a directory of this machine. Knows nothing of networks.

Create is a temporary file, fsync and a hard link: opening with O_EXCL would leave a torn object after a crash.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from connectors.errors import Changed, ConditionalWritesIgnored, Forbidden, NotFound, StoreError
from connectors.store import ObjectInfo, checked_content, checked_key
from connectors.uri import Uri

_TEMPORARY_PREFIX = ".tmp-"


class LocalStore:
    """Objects are files below a root directory, which is made at the first write. No symlink leads out of it.

    A root that was there and was deleted since is not made again: whoever deleted it wants it gone.
    """

    etag_is_checksum = False  # a disk's own errors change neither the size nor the time of writing

    def __init__(self, uri: Uri) -> None:
        self.uri = str(uri)
        self._uri = uri
        self._root = Path(uri.path)
        self._had_root = False

    def __reduce__(self) -> tuple[type["LocalStore"], tuple[Uri]]:
        return LocalStore, (self._uri,)

    def create(self, key: str, content: bytes) -> bool:
        content = checked_content(key, content)
        with self._mapped(key):
            path = self._writable_path(key)
            temporary = _write_temporary(path, content)
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return False
            except OSError as error:
                raise ConditionalWritesIgnored(
                    f"{self.uri}: this file system cannot make hard links ({error.strerror}), which an atomic create "
                    "needs. Choose an output directory on a local disk."
                ) from error
            finally:
                temporary.unlink()
            _fsync_directory(path.parent)
        return True

    def put(self, key: str, content: bytes) -> None:
        with self._mapped(key):
            path = self._writable_path(key)
            temporary = _write_temporary(path, content)
            try:
                temporary.rename(path)
            except OSError:
                temporary.unlink()
                raise
            _fsync_directory(path.parent)

    def get(self, key: str) -> bytes:
        with self._mapped(key):
            return self._readable_path(key).read_bytes()

    def get_range(self, key: str, start: int, end: int, *, etag: str | None = None) -> bytes:
        with self._mapped(key), self._readable_path(key).open("rb", buffering=0) as file:
            self._check_version(key, file.fileno(), etag)
            file.seek(start)
            content = _read_exactly(file.fileno(), end - start)
            # A writer may have changed the file in place while it was read.
            self._check_version(key, file.fileno(), etag)
            return content

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        with self._mapped(key):
            file = self._readable_path(key).open("rb")
            try:
                self._check_version(key, file.fileno(), etag)
            except Changed:
                file.close()
                raise
            return file

    def head(self, key: str) -> ObjectInfo:
        with self._mapped(key):
            path = self._readable_path(key)
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise NotFound(f"{self.uri}/{key} is a directory, not an object")
            return ObjectInfo(key, status.st_size, _etag(status), status.st_mtime)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        directory = prefix.rpartition("/")[0]
        base = self._root / checked_key(self.uri, directory) if directory else self._root
        keys = []
        for parent, _, names in os.walk(base):
            below = Path(parent).relative_to(self._root)
            keys += [str(below / name) for name in names if not name.startswith(_TEMPORARY_PREFIX)]
        for key in sorted(key for key in keys if key.startswith(prefix)):
            # Deleted since, or a symlink that leads out of the root: not an object of this store.
            with suppress(NotFound, Forbidden):
                yield self.head(key)

    def delete(self, key: str) -> None:
        with suppress(NotFound), self._mapped(key):
            self._writable_path(key, make=False).unlink()

    def _readable_path(self, key: str) -> Path:
        path = self._root / checked_key(self.uri, key)
        self._refuse_outside(key, path)
        self._had_root = self._had_root or self._root.is_dir()
        return path

    def _writable_path(self, key: str, *, make: bool = True) -> Path:
        path = self._root / checked_key(self.uri, key)
        if path.name.startswith(_TEMPORARY_PREFIX):
            raise Forbidden(f"key {key!r} refused in {self.uri}: names starting with {_TEMPORARY_PREFIX} are ours")
        self._refuse_outside(key, path.parent)
        if make:
            if self._had_root and not self._root.is_dir():
                raise NotFound(f"{self.uri} was deleted since it was written to; {key} is not written")
            _make_directory(path.parent)
            self._had_root = True
        return path

    def _refuse_outside(self, key: str, path: Path) -> None:
        if self._has_link(path) and not path.resolve().is_relative_to(self._root.resolve()):
            raise Forbidden(f"key {key!r} refused: a symbolic link leads out of {self.uri}")

    def _has_link(self, path: Path) -> bool:
        """Whether a symbolic link lies between the root and a path below it: a tenth of the time to resolve both."""
        below, root_length = str(path), len(str(self._root))
        while len(below) > root_length:
            if os.path.islink(below):  # noqa: PTH114 - a job may have many small files
                return True
            below = below.rpartition("/")[0]
        return False

    def _check_version(self, key: str, descriptor: int, etag: str | None) -> None:
        if etag is not None and (found := _etag(os.fstat(descriptor))) != etag:
            raise Changed(f"{self.uri}/{key} changed: expected version {etag}, found {found}")

    @contextmanager
    def _mapped(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFound(f"{self.uri}/{key} does not exist ({error.strerror})") from error
        except PermissionError as error:
            raise Forbidden(f"{self.uri}/{key}: permission denied for this user") from error
        except OSError as error:
            raise StoreError(f"{self.uri}/{key}: {error.strerror or error}") from error


def _etag(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def _write_temporary(path: Path, content: bytes) -> Path:
    """Write the content durably beside `path`; return the temporary file."""
    temporary = path.with_name(_TEMPORARY_PREFIX + secrets.token_hex(8))
    try:
        with temporary.open("xb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _read_exactly(descriptor: int, size_bytes: int) -> bytes:
    pieces = []
    while size_bytes > 0 and (piece := os.read(descriptor, min(size_bytes, 1 << 30))):
        pieces.append(piece)
        size_bytes -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _make_directory(path: Path) -> None:
    """Make the directory and its parents durably."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
    _fsync_directory(path.parent)


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
