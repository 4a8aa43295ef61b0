"""How much one account may have at a time: told at the create, with the numbers, and never by a job that fails later.

Counted by what is stored: several servers together may let through a little more. Knows no face.
"""

from __future__ import annotations

from http import HTTPStatus

from batch.server.admin.root import Account
from batch.server.refusal import Refused
from batch.server.tenant import Tenant


def check_job(account: Account, tenant: Tenant, *, priority: int) -> None:
    """Refused: the account has as many jobs as it may have, or asks for a priority that it may not have."""
    if account.max_priority is not None and priority > account.max_priority:
        raise _exceeded(f"A priority of {priority} was asked for; this account may have {account.max_priority}.")
    if account.max_unfinished_jobs is not None:
        jobs = len(tenant.jobs.unfinished())
        if jobs >= account.max_unfinished_jobs:
            raise _exceeded(f"{jobs} jobs wait or run; this account may have {account.max_unfinished_jobs} at a time.")


def check_bytes(account: Account, tenant: Tenant, *, more_bytes: int) -> None:
    """Refused: with so many bytes more the account would keep more than it may."""
    if account.max_stored_bytes is not None:
        kept = sum(file.size_bytes for file in tenant.files.all())
        if kept + more_bytes > account.max_stored_bytes:
            told = f"{kept:,} bytes of files are kept and {more_bytes:,} would come"
            raise _exceeded(f"{told}; this account may keep {account.max_stored_bytes:,}. Delete some.")


def _exceeded(message: str) -> Refused:
    return Refused(HTTPStatus.TOO_MANY_REQUESTS, "quota_exceeded", message, kind="insufficient_quota", may_retry=False)
