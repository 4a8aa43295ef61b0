"""Whether a job's inputs are still those that its ledger or its plan was made over, by a listing and nothing else.

Knows nothing of commands, and never looks into a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batch.errors import UsageError
from batch.jobs.store import JobStore
from batch.planning.input_files import find_inputs
from batch.spec.job_spec import JobSpec
from batch.text import address
from connectors.datasets.reader import InputFile
from connectors.errors import NotFound

SHOWN = 3


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as the job read it, or as it was planned."""

    uri: str
    size_bytes: int
    etag: str


def refuse_other_inputs(job_store: JobStore, spec: JobSpec) -> None:
    """UsageError where the spec's inputs hold a file that the stored job knows not, or in another version.

    The job would not run it, and nobody would notice. Files that are gone are left: there is nothing to run. Nothing is
    compared of a job that takes over rows of another one, or that has read none of its inputs.
    """
    known = known_inputs(job_store)
    if spec.continued_from or not known:
        return
    try:
        found = find_inputs(spec.inputs)
    except NotFound:
        return
    others = compare(known, found)
    if others.new or others.changed:
        raise UsageError(_refusal(job_store, others))


def known_inputs(job_store: JobStore) -> tuple[KnownFile, ...]:
    """The files that the job was planned over; none before its plan."""
    manifest, plan = job_store.manifest(), job_store.plan()
    if manifest is not None:
        return tuple(KnownFile(file.uri, file.bytes, file.etag) for file in manifest.inputs)
    return tuple(KnownFile(file.uri, file.size_bytes, file.etag) for file in plan.inputs) if plan else ()


@dataclass(frozen=True, slots=True)
class Others:
    """The files that a job knows not, and those that it knows in another version; each in words."""

    new: tuple[str, ...]
    changed: tuple[str, ...]


def compare(known: Sequence[KnownFile], found: Sequence[InputFile]) -> Others:
    """What of `found` the job has not read. Pure."""
    before = {file.uri: file for file in known}
    new = tuple(f"{address(file.uri)} is new" for file in found if file.uri not in before)
    met = ((before[file.uri], file) for file in found if file.uri in before)
    return Others(new, tuple(_changed(old, file) for old, file in met if (old.size_bytes, old.etag) != _version(file)))


def _version(file: InputFile) -> tuple[int, str]:
    return file.size_bytes, file.etag


def _changed(old: KnownFile, file: InputFile) -> str:
    sizes = f"{old.size_bytes:,} bytes then, {file.size_bytes:,} now"
    written = f"{file.size_bytes:,} bytes as then, but written anew"
    return f"{address(file.uri)} has changed ({written if old.size_bytes == file.size_bytes else sizes})"


def _refusal(job_store: JobStore, others: Others) -> str:
    job_id, out = job_store.spec().job_id, address(job_store.uri)
    listed = "; ".join((*others.changed, *others.new)[:SHOWN])
    more = len(others.changed) + len(others.new) - SHOWN
    listed += f"; and {more} more files" if more > 0 else ""
    if job_store.manifest() is not None:
        way, since = f"`batchctl results {out}` has what it answered", "has ended, and since it read its inputs"
    elif others.changed:
        way, since = "bring back what was planned to go on with this job", "has not ended, and since it was planned"
    else:
        way, since = f"`batchctl resume {out}` goes on without", "has not ended, and since it was planned"
    return f"{job_id} {since} {listed}: run the inputs as they are now into another --output; {way}."
