"""The users of accounts: whom keys belong to. A user's role is that of the keys that are made for them afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

from batch.errors import UsageError
from batch.records.shelf import Shelf
from batch.server.admin.keys import Role
from batch.workspace.store import checked_id

_USERS = "server/users/"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody of an account."""

    account_id: str
    user_id: str
    created_at: str
    role: Role = Role.USER
    display_name: str = ""
    email: str = ""


class Users:
    """The users of a server. UsageError for an id that is none."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def create(self, user: User) -> User:
        """The user that stands, who has to be the same."""
        standing = self._shelf.create(_place(user.account_id, user.user_id), user)
        if replace(standing, created_at="") != replace(user, created_at=""):
            raise UsageError(f"User {user.user_id!r} exists already, as {standing.role.value}; update them.")
        return standing

    def update(self, user: User) -> User:
        """Change a user; the last change holds."""
        self._shelf.put(_place(user.account_id, user.user_id), user)
        return user

    def get(self, account_id: str, user_id: str) -> User | None:
        """The user; None when there is none."""
        return self._shelf.get(User, _place(account_id, user_id))

    def of_account(self, account_id: str) -> list[User]:
        """The users of an account, by id."""
        return list(self._shelf.all(User, f"{_USERS}{checked_id(account_id)}/"))


def _place(account_id: str, user_id: str) -> str:
    return f"{_USERS}{checked_id(account_id)}/{checked_id(user_id)}.json"
