"""The server's parts put together: what every face and the scheduler work with. Knows no face."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from typing import TypedDict

from batch.clock import Clock, SystemClock, rfc3339
from batch.server.admin.keys import SECRET_BYTES, ApiKeys
from batch.server.admin.models import Models
from batch.server.admin.root import Account, ServerRoot
from batch.server.admin.users import Users
from batch.server.files.drafts import Drafts
from batch.server.files.outputs import OutputFiles
from batch.server.files.uploaded import Files
from batch.server.files.uploads import Uploads
from batch.server.ids import Ids
from batch.server.jobs.account_jobs import AccountJobs
from batch.server.jobs.submissions import Submissions
from batch.server.refusal import not_there
from batch.server.signing import Signer
from batch.server.tenant import Tenant
from connectors.stores.registry import probe
from connectors.uri import parse_uri

MAX_FILE_BYTES = 200 * 10**6
"""OpenAI's limit of a batch file, and the default here."""

MAX_DATASET_BYTES = 80 << 30
"""Fireworks' limit of a dataset's file."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may be. `json_bytes`: of a body that is no file."""

    file_bytes: int = MAX_FILE_BYTES
    dataset_bytes: int = MAX_DATASET_BYTES
    json_bytes: int = 4 * 10**6
    uploads_at_once: int = 16
    silence_s: float = 60.0


class BatchServer:
    """One server over a root, beside any number of others. Several threads may use it."""

    def __init__(self, root: ServerRoot, *, clock: Clock | None = None, limits: Limits | None = None) -> None:
        self.root = root
        self.clock = clock or SystemClock()
        self.limits = limits or Limits()
        self.ids = Ids(lambda: secrets.token_hex(12))
        self.keys = ApiKeys(root.shelf, self.clock, lambda: secrets.token_urlsafe(SECRET_BYTES))
        self.users = Users(root.shelf)
        self.models = Models(root.shelf)
        self.signer = Signer(root.shelf, lambda: secrets.token_bytes(SECRET_BYTES))
        self.submitted = threading.Event()
        """Set when a job was made: its scheduler need not wait for its next look."""
        self._tenants: dict[str, Tenant] = {}
        self._lock = threading.Lock()

    @property
    def places(self) -> tuple[str, ...]:
        """What no answer tells: where the root is."""
        parsed = parse_uri(self.root.uri)
        return (self.root.uri, parsed.path) if parsed.scheme == "file" else (self.root.uri,)

    def probe(self) -> None:
        """Try that the store creates only once, for all jobs: ConditionalWritesIgnored."""
        probe(self.root.shelf.store, "server/probes", secrets.token_hex(8))

    def create_account(self, account_id: str, display_name: str = "") -> Account:
        """The account that stands."""
        return self.root.create_account(Account(account_id, rfc3339(self.clock.now()), display_name))

    def account(self, tenant: Tenant) -> Account:
        """An account's record, as it is now: its limits may have changed. Refused: it is gone."""
        found = self.root.account(tenant.account_id)
        if found is None:
            raise not_there("account", tenant.account_id)
        return found

    def opened(self, account_id: str) -> Tenant | None:
        """Everything of an account that was asked for before."""
        return self._tenants.get(account_id)

    def tenant(self, account_id: str) -> Tenant:
        """Everything of an account. Refused: there is none."""
        found = self._tenants.get(account_id)
        if found is None:
            if self.root.account(account_id) is None:
                raise not_there("account", account_id)
            with self._lock:
                found = self._tenants.setdefault(account_id, self._opened(account_id))
        return found

    def _opened(self, account_id: str) -> Tenant:
        workspace, shelf = self.root.workspace(account_id), self.root.account_shelf(account_id)
        making: _Making = {"ids": self.ids, "clock": self.clock, "most_bytes": self.limits.file_bytes}
        files = Files(workspace, shelf, **making)
        jobs, submissions = AccountJobs(workspace, self.clock), Submissions(shelf)
        return Tenant(
            workspace=workspace,
            files=files,
            uploads=Uploads(files, shelf, **making),
            drafts=Drafts(workspace, shelf, self.limits.dataset_bytes),
            jobs=jobs,
            submissions=submissions,
            outputs=OutputFiles(jobs, submissions, shelf, self.clock),
        )


class _Making(TypedDict):
    """What new files and uploads are made with."""

    ids: Ids
    clock: Clock
    most_bytes: int
