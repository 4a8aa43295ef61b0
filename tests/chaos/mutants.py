"""Protocols that are known to be wrong, each one step away from the right one: the enumerator must find each out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from chaos.run import Variant
from faults import Wrapped
from jobs import make_spec

from batch import layout
from batch.jobs.own_objects import OwnObjects
from batch.jobs.store import JobStore
from batch.layout import PartKind
from batch.planning.plan import Plan
from batch.records.manifest import Manifest
from batch.records.objects import Commit, Epoch, Part, Void
from batch.records.parts import JSONL
from batch.spec.job_spec import PartFormat
from connectors.datasets.reader import InputFile
from connectors.errors import NotFound
from connectors.stores.registry import open_store
from connectors.stores.store import Store

PART_PREFIXES = (layout.RESULTS_PREFIX, layout.ERRORS_PREFIX)


def scratch(kind: Callable[[Store], Store] = lambda store: store) -> JobStore:
    """A job elsewhere, for what is written too late to be made already."""
    job = JobStore(kind(open_store("memory://chaos-scratch")))
    job.create_spec(make_spec())
    return job


class Overwriting(Wrapped):
    """A store that creates parts over what stands there."""

    def create(self, key: str, content: bytes) -> bool:
        if not key.startswith(PART_PREFIXES):
            return super().create(key, content)
        self.put(key, content)
        return True


class Racy(Wrapped):
    """A store whose create looks first and writes then, at the keys with this prefix."""

    def __init__(self, inner: Store, prefix: str) -> None:
        super().__init__(inner)
        self._prefix = prefix

    def create(self, key: str, content: bytes) -> bool:
        if not key.startswith(self._prefix):
            return super().create(key, content)
        try:
            self.head(key)
        except NotFound:
            self.put(key, content)
            return True
        return False


class Unsummed(Wrapped):
    """A store whose etags say nothing of the bytes, as files on a disk."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.etag_is_checksum = False


class CommitBeforeData(JobStore):
    """The receipt first, then the parts that it names."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._scratch = scratch(Overwriting)
        self._late: list[Callable[[], Part]] = []

    def write_part(
        self, kind: PartKind, shard: int, *, attempt: str, lines: Sequence[bytes], part_format: PartFormat = JSONL
    ) -> Part:
        write = partial(super().write_part, kind, shard, attempt=attempt, lines=lines, part_format=part_format)
        self._late.append(write)
        return self._scratch.write_part(kind, shard, attempt=attempt, lines=lines, part_format=part_format)

    def commit(self, commit: Commit) -> Commit:
        standing = super().commit(commit)
        while self._late:
            self._late.pop()()
        return standing


class FixedNames(JobStore):
    """A shard's parts have one name, whoever writes them."""

    def write_part(
        self, kind: PartKind, shard: int, *, attempt: str, lines: Sequence[bytes], part_format: PartFormat = JSONL
    ) -> Part:
        return super().write_part(kind, shard, attempt="", lines=lines, part_format=part_format)


class EarlyGarbage(JobStore):
    """A new attempt clears away what no commit names."""

    def create_epoch(self, epoch: Epoch) -> bool:
        is_ours = super().create_epoch(epoch)
        commits = self.commits().values()
        named = {part.key for commit in commits for part in commit.output.parts}
        for prefix in PART_PREFIXES:
            for found in self._store.list(prefix):
                if found.key not in named:
                    self._store.delete(found.key)
        return is_ours


class PlanBeforeCopies(JobStore):
    """The plan first, then the lines that it has copied."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._scratch = scratch()
        self._late: list[Callable[[], InputFile]] = []

    def write_copy(self, content: bytes) -> InputFile:
        self._late.append(partial(super().write_copy, content))
        copy = self._scratch.write_copy(content)
        return replace(copy, uri=self.uri + copy.uri.removeprefix(self._scratch.uri))

    def create_plan(self, plan: Plan) -> Plan:
        standing = super().create_plan(plan)
        while self._late:
            self._late.pop()()
        return standing


class OwnPlan(JobStore):
    """No read-back: where a plan exists, the driver takes its own to be the one that stands."""

    def create_plan(self, plan: Plan) -> Plan:
        super().create_plan(plan)
        return plan


class OwnCommit(JobStore):
    """No read-back of commits."""

    def commit(self, commit: Commit) -> Commit:
        super().commit(commit)
        return commit


class OwnManifest(JobStore):
    """No read-back of the manifest."""

    def create_manifest(self, manifest: Manifest) -> Manifest:
        super().create_manifest(manifest)
        return manifest


class NoLives(OwnObjects):
    """Records carry no life, and whatever stands is ours."""

    def _stamped(self, content: bytes) -> bytes:
        return content

    def _opened(self, key: str, content: bytes) -> bytes:
        return content


class ReadAsOurs(OwnObjects):
    """Lives are compared where something stands that was to be written, not where a record is read."""

    def get(self, key: str) -> bytes | None:
        content = self._content(key)
        if content is None or not content.startswith(b'{"life"'):
            return content
        return b"{" + content.partition(b"\n")[2]


class NoLook(OwnObjects):
    """What is written is not held back where the job is gone."""

    def _look(self) -> None:
        self.spec()


class NoRefusal(OwnObjects):
    """A job is stored beside what another one left."""

    def _refuse_remains(self) -> None:
        pass


class Over(JobStore):
    """A job store over another kind of own objects."""

    def __init__(self, kind: type[OwnObjects], store: Store) -> None:
        super().__init__(store)
        self._own = kind(store)


class NoAudit(JobStore):
    """The ledger is closed over what commits say."""

    def damage(self, parts: Iterable[Part], *, thorough: bool) -> Iterator[tuple[Part, str]]:
        return iter(())


class SizesOnly(JobStore):
    """Parts are looked at, but not into."""

    def damage(self, parts: Iterable[Part], *, thorough: bool) -> Iterator[tuple[Part, str]]:
        return super().damage(parts, thorough=False)


class DeletedCommits(JobStore):
    """A commit that does not count is deleted."""

    def _create_void(self, shard: int, redo: int, void: Void) -> None:
        self._store.delete(layout.commit(shard, redo))


class NoRedo(JobStore):
    """A shard has one commit, for ever."""

    def _redo(self, shard: int) -> int:
        return 0


MUTANTS = {
    "commit before data": (Variant(job=CommitBeforeData), "is not there"),
    "fixed part names": (Variant(job=FixedNames, store=Overwriting), "holds other bytes"),
    "early garbage collection": (Variant(job=EarlyGarbage), "or that are gone"),
    "no read-back of the plan": (Variant(job=OwnPlan), "LedgerOpen"),
    "no read-back of commits": (Variant(job=OwnCommit), "was told of another commit"),
    "no read-back of the manifest": (Variant(job=OwnManifest), "only after this very manifest was stored"),
    "racy commit": (Variant(store=lambda store: Racy(store, layout.COMMIT_PREFIX)), "was changed by a put"),
    "racy manifest": (Variant(store=lambda store: Racy(store, layout.MANIFEST)), "manifest.json was changed by a put"),
}
"""Each with a word of the problem that gives it away."""

MUTANTS_OF_COPIES = {"plan before copies": (Variant(job=PlanBeforeCopies), "did not end the job")}
"""Those that only a job of scattered rows shows."""

MUTANTS_OF_LIVES = {
    "no lives": (Variant(job=partial(Over, NoLives)), "another job"),
    "lives not compared when read": (Variant(job=partial(Over, ReadAsOurs)), "another job"),
    "no look before writing": (Variant(job=partial(Over, NoLook)), "where the job is gone"),
    "remains not refused": (Variant(job=partial(Over, NoRefusal)), "were not refused"),
}
"""Those that an emptied place shows."""

MUTANTS_OF_DAMAGE = {
    "no audit": (Variant(job=NoAudit), "gone"),
    "an audit of sizes": (Variant(job=SizesOnly, store=Unsummed), "differ from the committed sha256"),
    "void commits deleted": (Variant(job=DeletedCommits), "was changed by a delete"),
    "one commit a shard": (Variant(job=NoRedo), "did not end the job"),
}
"""Those that a damaged part shows."""
