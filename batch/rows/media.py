"""Media by address: an engine would fetch it from wherever a row says, so that only embedded media is let through.

Knows nothing of engines.
"""

from __future__ import annotations

from batch.spec.parameters import Problem, shown

_ADDRESSES = frozenset({"image_url", "audio_url", "video_url", "file_url"})
# What may spell one of the names in a line: their common part, or an escaped ASCII letter.
_NAME, _ESCAPE = b"_url", b"\\u00"


def may_hold_address(raw: bytes) -> bool:
    """True when the JSON text may name media by an address; False is certain. Cheap."""
    return _NAME in raw or _ESCAPE in raw


def forbidden_address(body: object, path: str = "") -> Problem | None:
    """Return the first media address in the body that is not a `data:` URL, or None."""
    if isinstance(body, dict):
        for name, member in body.items():
            inner = f"{path}.{name}" if path else name
            found = _forbidden(member, inner) if name in _ADDRESSES else None
            found = found or forbidden_address(member, inner)
            if found is not None:
                return found
    elif isinstance(body, list):
        for position, member in enumerate(body):
            found = forbidden_address(member, f"{path}[{position}]")
            if found is not None:
                return found
    return None


def _forbidden(value: object, path: str) -> Problem | None:
    address = value.get("url") if isinstance(value, dict) else value
    if not isinstance(address, str) or address.startswith("data:"):
        return None
    return Problem(path, f"{path}={shown(address)}: expected a data: URL; batch jobs fetch no media from addresses")
