"""One call of a Fireworks client: who asks, of which server, and how addresses back to it begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlencode

from batch.clock import rfc3339
from batch.errors import UsageError
from batch.server.access import Caller
from batch.server.refusal import not_there
from batch.server.server import BatchServer
from batch.server.signing import DOWN_FOR, UP_FOR
from batch.server.tenant import Tenant

TRANSFERS = "/v1/blobs"
"""Where signed addresses lead to."""
WhyWaiting = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Call:
    """`why_waiting`: of a job, by its account and id; `base_url`: of the HTTP face, without a slash at its end."""

    server: BatchServer
    caller: Caller
    why_waiting: WhyWaiting
    base_url: str
    is_retry: bool = False

    def tenant(self, account_id: str) -> Tenant:
        """The account of a path, which has to be the caller's: another one is not there."""
        if account_id not in ("-", self.caller.account_id):
            raise not_there("account", account_id)
        return self.server.tenant(self.caller.account_id)

    @property
    def now(self) -> str:
        """The time, as records have it."""
        return rfc3339(self.server.clock.now())

    def signed(self, method: str, tenant: Tenant, dataset_id: str, name: str, size_bytes: int) -> str:
        """The address of a file that takes this method for a while, without a key."""
        until = self.server.clock.now() + (UP_FOR if method == "PUT" else DOWN_FOR)
        words = (method, tenant.account_id, dataset_id, name, str(size_bytes))
        expires, signature = self.server.signer.sign(*words, until=until)
        query = urlencode({"size": size_bytes, "exp": expires, "sig": signature})
        path = "/".join(quote(step, safe="") for step in (tenant.account_id, dataset_id, name))
        return f"{self.base_url}{TRANSFERS}/{path}?{query}"


def bare_id(tenant: Tenant, collection: Literal["datasets", "batchInferenceJobs"], given: str) -> str:
    """The id in an id or a full name. Refused: there can be none such."""
    try:
        return tenant.workspace.bare_id(collection, given)
    except UsageError:
        raise not_there(collection.removesuffix("s"), given) from None
