"""Addresses that carry their own permission, for a while: what is signed is all that may be done with them.

Knows no route.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batch.records.shelf import Shelf

UP_FOR, DOWN_FOR = timedelta(hours=1), timedelta(minutes=10)
_SECRET_KEY = "server/secret.json"


@dataclass(frozen=True, slots=True)
class _Secret:
    """What signs, in base64."""

    secret: str


class Signer:
    """Signs for every server over one root. `token`: draws the secret of the first one."""

    def __init__(self, shelf: Shelf, token: Callable[[], bytes]) -> None:
        self._shelf = shelf
        self._token = token
        self._secret: bytes | None = None

    def sign(self, *words: str, until: datetime) -> tuple[str, str]:
        """When the permission for these words ends, in Unix seconds, and the signature."""
        expires = str(int(until.timestamp()))
        return expires, self._signature((*words, expires))

    def allows(self, *words: str, expires: str, signature: str, now: datetime) -> bool:
        """Whether the signature is that of these words, and still holds."""
        is_ours = hmac.compare_digest(self._signature((*words, expires)).encode(), signature.encode())
        return is_ours and now.timestamp() < int(expires)

    def _signature(self, words: Sequence[str]) -> str:
        # Lengths keep two lists of words from having one text.
        text = "".join(f"{len(word)}:{word}" for word in words)
        return hmac.new(self._key(), text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        if self._secret is None:
            drawn = _Secret(base64.b64encode(self._token()).decode())
            self._secret = base64.b64decode(self._shelf.create(_SECRET_KEY, drawn).secret)
        return self._secret
