"""The objects of one job and of no other, in a place that may have held another job before, and may again.

What is written gets the life that it belongs to, and is written only while the job still stands there. What is read
must be of this life. Knows nothing of what the objects say.
"""

import re

import orjson

from batch import layout
from batch.errors import JobGone, JobNotFound, UsageError
from batch.records.objects import CorruptRecord, ForeignRecord
from batch.spec.job_spec import JobSpec, decode_spec
from connectors.errors import NotFound
from connectors.stores.store import Store, create_once

_LIFE = re.compile(rb'\{"life": "([^"\\]*)",\n|life ([^\n]*)\n')
"""How an object begins that carries its life: one of JSON, or one of other bytes."""


class OwnObjects:
    """A job's objects by their keys. Several threads may share one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spec: JobSpec | None = None
        self._life = ""
        self._standing: dict[str, bytes] = {}

    def spec(self) -> JobSpec:
        """The job's spec. JobNotFound."""
        if self._spec is None:
            content = self._content(layout.SPEC)
            if content is None:
                raise JobNotFound(
                    f"no job under {self._store.uri}: {layout.SPEC} is missing; check the output URI or the job id"
                )
            spec = self._decoded(content)
            self._life, self._standing = spec.life, {layout.SPEC: content}
            self._spec = spec  # last: another thread may be here
        return self._spec

    def create_spec(self, content: bytes) -> JobSpec:
        """The spec that stands, this one or an earlier one. UsageError where the place holds parts of another job."""
        if self._content(layout.SPEC) is None:
            self._refuse_remains()
        return self._decoded(create_once(self._store, layout.SPEC, content))

    def stand_on(self, key: str, content: bytes) -> None:
        """From now on write only while what was written here stands. JobGone where it does not.

        It may have been written a moment too late, into the place of another job: so the spec is looked at after it.
        """
        self.check()
        stamped = self._stamped(content)
        if self._content(key) != stamped:
            raise self._gone()
        self._standing[key] = stamped

    def check(self) -> None:
        """Raise JobGone unless all stands."""
        if not self.stand():
            raise self._gone()

    def stand(self) -> bool:
        """Whether the job is still in its place, and what `stand_on` named."""
        self.spec()
        return all(self._content(key) == content for key, content in self._standing.items())

    def get(self, key: str) -> bytes | None:
        """What was written there; None for nothing, also where no job is. ForeignRecord, JobGone."""
        content = self._content(key)
        if content is None:
            return None
        self.spec()
        return self._opened(key, content)

    def create(self, key: str, content: bytes) -> bytes:
        """Write once; what stands there: this or something earlier. ForeignRecord, JobGone."""
        self._look()
        return self._opened(key, create_once(self._store, key, self._stamped(content)))

    def put(self, key: str, content: bytes) -> None:
        """Write over what stands there. JobGone."""
        self._look()
        self._store.put(key, self._stamped(content))

    def create_bare(self, key: str, content: bytes) -> bool:
        """Write once bytes that carry no life, since a record names them. False: something stands there. JobGone."""
        self._look()
        return self._store.create(key, content)

    def delete(self, key: str) -> None:
        """Remove what stands there. JobGone."""
        self._look()
        self._store.delete(key)

    def address(self, key: str) -> str:
        """What a person finds the object by."""
        return f"{self._store.uri}/{key}"

    def _look(self) -> None:
        """Raise JobGone when the job is not in its place any more: a late write would be found in another job's.

        The last that `stand_on` named is enough: it was there beside the spec, and goes with it.
        """
        self.spec()
        key, content = next(reversed(self._standing.items()))
        if self._content(key) != content:
            raise self._gone()

    def _gone(self) -> JobGone:
        return JobGone(
            f"{self._store.uri} was emptied, or given to another job, while this one ran; it has stopped, and writes "
            "nothing there any more. Start it again, with an output of its own"
        )

    def _refuse_remains(self) -> None:
        remains = (found.key for prefix in (layout.JOB_PREFIX, layout.MANIFEST) for found in self._store.list(prefix))
        left = next((key for key in remains if not key.startswith(layout.PROBE_PREFIX)), None)
        if left is not None and self._content(layout.SPEC) is None:  # else somebody has just stored the job
            raise UsageError(
                f"{self.address(left)} is left of another job, whose {layout.SPEC} is gone: delete {self._store.uri}, "
                "or use another output"
            )

    def _decoded(self, content: bytes) -> JobSpec:
        try:
            return decode_spec(content)
        except UsageError as error:
            raise UsageError(f"{self.address(layout.SPEC)}: {error}") from None

    def _stamped(self, content: bytes) -> bytes:
        if not self._life:
            return content
        if content.startswith(b"{"):
            return b'{"life": "%b",\n' % self._life.encode() + content[1:].lstrip(b"\n")
        return b"life %b\n" % self._life.encode() + content

    def _opened(self, key: str, content: bytes) -> bytes:
        """The content without its life. ForeignRecord when that is another one, JobGone when the place is another's."""
        stamp = _LIFE.match(content)
        life = b"" if stamp is None else stamp[1] or stamp[2]
        if life.decode(errors="replace") != self._life:
            if stamp is None and not _is_json(content):
                raise CorruptRecord(f"{self.address(key)}: something else than batchctl wrote or cut it")
            self.check()  # where the place is another job's by now, this object is rightly there
            raise ForeignRecord(
                f"{self.address(key)} belongs to another job than {layout.SPEC}: something that ran there before wrote "
                "it late; delete it, and give the same command again"
            )
        if stamp is None:
            return content
        return (b"{" if stamp[1] else b"") + content[stamp.end() :]

    def _content(self, key: str) -> bytes | None:
        try:
            return self._store.get(key)
        except NotFound:
            return None


def _is_json(content: bytes) -> bool:
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return True
