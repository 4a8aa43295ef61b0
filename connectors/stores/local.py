"""A store in a directory of this machine. Knows nothing of networks.

Create is a file without a name, fsync and a hard link: opening with O_EXCL would leave a torn object after a crash.
"""

import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from connectors.errors import Changed, ConditionalWritesIgnored, Forbidden, NoSpace, NotFound, StoreError
from connectors.stores.store import ObjectInfo, checked_content, checked_key
from connectors.uri import Uri

_TEMPORARY_PREFIX = ".tmp-"
_TORN_AFTER_S = 3600.0
"""No write takes so long: a temporary file of that age belongs to nobody."""
_NO_UNNAMED_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS}


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
        return self.create_from(key, (content,))

    def create_from(self, key: str, chunks: Iterable[bytes]) -> bool:
        with self._mapped(key):
            path = self._writable_path(key)
            with _written(path.parent, _checked_chunks(key, chunks)) as name_it:
                try:
                    name_it(path)
                except FileExistsError:
                    return False
                except OSError as error:
                    raise ConditionalWritesIgnored(
                        f"{self.uri}: this file system cannot make hard links ({error.strerror}), which an atomic "
                        "create needs. Choose an output directory on a local disk."
                    ) from error
            _fsync_directory(path.parent)
        return True

    def put(self, key: str, content: bytes) -> None:
        with self._mapped(key):
            path = self._writable_path(key)
            temporary = _temporary_name(path.parent)
            with _written(path.parent, (content,)) as name_it:
                try:
                    name_it(temporary)
                    temporary.rename(path)
                except OSError:
                    temporary.unlink(missing_ok=True)
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
        for key in self.keys(prefix):
            # Deleted since, or a symlink that leads out of the root: not an object of this store.
            with suppress(NotFound, Forbidden):
                yield self.head(key)

    def keys(self, prefix: str) -> Iterator[str]:
        directory = prefix.rpartition("/")[0]
        base = self._root / checked_key(self.uri, directory) if directory else self._root
        found = []
        for parent, _, names in os.walk(base):
            below = parent[len(str(self._root)) :].strip("/")
            start = f"{below}/" if below else ""
            found += [start + name for name in names if not name.startswith(_TEMPORARY_PREFIX)]
        yield from sorted(key for key in found if key.startswith(prefix))

    def delete(self, key: str) -> None:
        with suppress(NotFound), self._mapped(key):
            self._writable_path(key, make=False).unlink()

    def torn_files(self) -> Iterator[Path]:
        """Yield what writers that were killed have left half written: no objects, and nobody's any more."""
        for parent, _, names in os.walk(self._root):
            for name in names:
                path = Path(parent, name)
                with suppress(OSError):
                    if name.startswith(_TEMPORARY_PREFIX) and time.time() - path.lstat().st_mtime > _TORN_AFTER_S:
                        yield path

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
        if self._has_link(path) and not _resolved(path).is_relative_to(_resolved(self._root)):
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
            kind = NoSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
            raise kind(f"{self.uri}/{key}: {error.strerror or error}") from error


def _resolved(path: Path) -> Path:
    """The path without symbolic links. One that leads to itself stays: `Path.resolve` raises RuntimeError there."""
    return Path(os.path.realpath(path))


def _etag(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


@contextmanager
def _written(directory: Path, chunks: Iterable[bytes]) -> Iterator[Callable[[Path], None]]:
    """Write the chunks durably to a file without a name, which a crash leaves nothing of.

    Yields what gives it one, in the directory: FileExistsError where that is taken. Where the file system has no such
    files, it has a temporary name meanwhile.
    """
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError as error:
        if error.errno not in _NO_UNNAMED_FILES:
            raise
        with _written_by_name(directory, chunks) as name_it:
            yield name_it
        return
    try:
        _write_durably(descriptor, chunks)
        # With a descriptor of a directory Python asks for linkat, which follows this link to the file.
        yield lambda path: os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
    finally:
        os.close(descriptor)


@contextmanager
def _written_by_name(directory: Path, chunks: Iterable[bytes]) -> Iterator[Callable[[Path], None]]:
    temporary = _temporary_name(directory)
    try:
        with temporary.open("xb", buffering=0) as file:
            _write_durably(file.fileno(), chunks)
        yield lambda path: path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary_name(directory: Path) -> Path:
    return directory / (_TEMPORARY_PREFIX + secrets.token_hex(8))


def _write_durably(descriptor: int, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _checked_chunks(key: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks as they come; ValueError at their end when they held no byte."""
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        yield chunk
    if not size_bytes:
        checked_content(key, b"")


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
