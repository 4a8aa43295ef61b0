"""Frees the space of what nobody is shown any more: expired files and outputs, deleted inputs, uploads that broke off.

It decides nothing: each of them was gone for every client before. Several servers may sweep at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from batch.records.objects import PART_KINDS
from batch.server.files.outputs import output_of
from batch.server.files.uploaded import PREFIX
from batch.server.ids import first_since
from batch.server.tenant import Tenant

SURELY_OVER = timedelta(days=1)
"""No upload takes so long: what is left of one that is that old belongs to nobody."""


def sweep(tenant: Tenant, now: datetime) -> list[str]:
    """Remove what is over in one account; the ids of what it was."""
    return [*_expired_files(tenant, now), *_orphans(tenant, now), *_expired_outputs(tenant, now), *_uploads(tenant)]


def _expired_files(tenant: Tenant, now: datetime) -> Iterator[str]:
    for file in tenant.files.kept():
        if file.has_expired(now):
            tenant.files.forget(file.file_id)
            if not tenant.uses(file.file_id):
                tenant.workspace.delete_dataset(file.file_id)
            yield file.file_id


def _orphans(tenant: Tenant, now: datetime) -> Iterator[str]:
    """Bytes without a file: it was deleted while a job read it, has expired, or never came whole."""
    known = {file.file_id for file in tenant.files.kept()}
    youngest = first_since(PREFIX, now - SURELY_OVER)
    for dataset_id in tenant.workspace.dataset_ids(PREFIX):
        if dataset_id not in known and dataset_id < youngest and not tenant.uses(dataset_id):
            tenant.workspace.delete_dataset(dataset_id)
            yield dataset_id


def _expired_outputs(tenant: Tenant, now: datetime) -> Iterator[str]:
    for record in tenant.jobs.all():
        end = tenant.outputs.expires_at(record)
        if end is not None and now >= end:
            for kind in PART_KINDS:
                output = output_of(record, kind)
                if output is not None and output.is_there():
                    output.delete()
                    yield f"{record.job_id} {kind}"


def _uploads(tenant: Tenant) -> Iterator[str]:
    for upload_id in tenant.uploads.with_parts():
        if tenant.uploads.is_over(upload_id):
            tenant.uploads.drop_parts(upload_id)
            yield upload_id
