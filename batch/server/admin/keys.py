"""API keys: who may come in. Only their digests are stored; a key is shown once, when it is made.

A key that was deleted or has expired lets nobody in after HITS_S seconds, in any process.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from batch.clock import Clock, parse_rfc3339, rfc3339
from batch.records.shelf import Shelf

HITS_S, MISSES_S = 30.0, 5.0
"""How long a process may believe what it read of a key, and that there is none."""
SECRET_BYTES = 32
_SECRET_START = "bk_"
_KEYS = "server/keys/"
_ID_CHARACTERS = 32
_SHOWN_CHARACTERS = 8
_MOST_REMEMBERED = 10_000


class Role(StrEnum):
    """What a caller may do: an admin all, a user all but keys and models, a viewer nothing that changes anything."""

    ADMIN = "admin"
    USER = "user"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is stored of a key. `key_id`: the beginning of its digest; `prefix`: its first characters, for people."""

    key_id: str
    prefix: str
    account_id: str
    created_at: str
    user_id: str = ""
    role: Role = Role.USER
    display_name: str = ""
    expires_at: str = ""

    def is_valid(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return not self.expires_at or now < parse_rfc3339(self.expires_at)


class ApiKeys:
    """The keys of a server. `token`: draws the secret part of a new one, 43 letters for URLs."""

    def __init__(self, shelf: Shelf, clock: Clock, token: Callable[[], str]) -> None:
        self._shelf = shelf
        self._clock = clock
        self._token = token
        self._remembered: dict[str, tuple[float, ApiKey | None]] = {}
        self._lock = threading.Lock()

    def create(
        self,
        account_id: str,
        *,
        user_id: str = "",
        role: Role = Role.USER,
        display_name: str = "",
        expires_at: str = "",
    ) -> tuple[str, ApiKey]:
        """A new key of an account: the secret, which nobody can show again, and what is stored of it."""
        secret = _SECRET_START + self._token()
        key = ApiKey(
            key_id=_key_id(secret),
            prefix=secret[:_SHOWN_CHARACTERS],
            account_id=account_id,
            created_at=rfc3339(self._clock.now()),
            user_id=user_id,
            role=role,
            display_name=display_name,
            expires_at=expires_at,
        )
        return secret, self._shelf.create(_place(key.key_id), key)

    def find(self, secret: str) -> ApiKey | None:
        """The key that a caller shows; None when there is none, or it has expired."""
        key_id = _key_id(secret)
        known = self.remembered(secret)
        key = known[0] if known else self._read(key_id)
        return key if key is not None and key.is_valid(self._clock.now()) else None

    def remembered(self, secret: str) -> tuple[ApiKey | None] | None:
        """What was read of the key a moment ago, in a tuple; None when the store has to be asked."""
        found = self._remembered.get(_key_id(secret))
        if found is None:
            return None
        read_at_s, key = found
        return (key,) if self._clock.monotonic() - read_at_s < (HITS_S if key else MISSES_S) else None

    def of_account(self, account_id: str) -> list[ApiKey]:
        """The keys of an account, the oldest first."""
        keys = (key for key in self._shelf.all(ApiKey, _KEYS) if key.account_id == account_id)
        return sorted(keys, key=lambda key: (key.created_at, key.key_id))

    def delete(self, account_id: str, key_id: str) -> bool:
        """Let the key in no more. False: the account has no such key."""
        if all(key.key_id != key_id for key in self.of_account(account_id)):
            return False
        self._shelf.delete(_place(key_id))
        with self._lock:
            self._remembered.pop(key_id, None)
        return True

    def _read(self, key_id: str) -> ApiKey | None:
        key = self._shelf.get(ApiKey, _place(key_id))
        with self._lock:
            if len(self._remembered) >= _MOST_REMEMBERED:  # somebody tries keys
                self._remembered.clear()
            self._remembered[key_id] = (self._clock.monotonic(), key)
        return key


def _key_id(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()[:_ID_CHARACTERS]


def _place(key_id: str) -> str:
    return f"{_KEYS}{key_id}.json"
