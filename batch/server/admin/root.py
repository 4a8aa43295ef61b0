"""Where a server keeps everything: one URI.

    accounts/<account>/...              its workspace: datasets/ and jobs/
    accounts/<account>/files/           what was uploaded as a file, and by which name
    accounts/<account>/submissions/     what a client asked of a job beyond its spec
    accounts/<account>/idempotency/     creates that were begun
    server/accounts/                    which accounts there are
    server/keys/, server/models/        who may come in, and what may be asked for

An account cannot name another one's key, since its store begins at its own folder.
"""

from __future__ import annotations

from dataclasses import dataclass

from batch.records.shelf import Shelf
from batch.workspace.store import Workspace, checked_id
from connectors.stores.registry import open_store
from connectors.uri import join, parse_uri

_ACCOUNTS = "server/accounts/"


@dataclass(frozen=True, slots=True)
class Account:
    """Whose datasets and jobs stand together. A limit of None is none.

    `max_unfinished_jobs` may wait and run at a time; `max_stored_bytes` of uploaded files may be kept; `max_priority`
    is the highest that a job may ask for.
    """

    account_id: str
    created_at: str
    display_name: str = ""
    max_unfinished_jobs: int | None = None
    max_stored_bytes: int | None = None
    max_priority: int | None = None


class ServerRoot:
    """The store at a server's root. BadUri, UsageError for an account id that is none."""

    def __init__(self, uri: str) -> None:
        self._uri = parse_uri(uri)
        self.shelf = Shelf(open_store(str(self._uri)))

    @property
    def uri(self) -> str:
        """The canonical URI."""
        return str(self._uri)

    def create_account(self, account: Account) -> Account:
        """The account that stands."""
        return self.shelf.create(_account_key(account.account_id), account)

    def update_account(self, account: Account) -> None:
        """Change an account; the last change holds."""
        self.shelf.put(_account_key(account.account_id), account)

    def account(self, account_id: str) -> Account | None:
        """The account; None when there is none."""
        return self.shelf.get(Account, _account_key(account_id))

    def account_ids(self) -> list[str]:
        """Every account's id."""
        return [key.removeprefix(_ACCOUNTS).removesuffix(".json") for key in self.shelf.keys(_ACCOUNTS)]

    def workspace(self, account_id: str) -> Workspace:
        """The datasets and jobs of an account."""
        return Workspace(self._folder(account_id), account_id)

    def account_shelf(self, account_id: str) -> Shelf:
        """What stands in an account's own folder."""
        return Shelf(open_store(self._folder(account_id)))

    def _folder(self, account_id: str) -> str:
        return str(join(self._uri, "accounts", checked_id(account_id)))


def _account_key(account_id: str) -> str:
    return f"{_ACCOUNTS}{checked_id(account_id)}.json"
