"""`/v1/accounts/{account}/users` and their API keys: for an admin's key."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Query as Parameter

from batch.clock import parse_rfc3339, rfc3339
from batch.server.admin.keys import ApiKey, Role
from batch.server.admin.users import User
from batch.server.fireworks.call import Call
from batch.server.fireworks.objects import Body, Json
from batch.server.http.errors import FIREWORKS_FAILURES
from batch.server.http.fireworks.calls import AccountId, Called
from batch.server.refusal import Refused, invalid, not_there

router = APIRouter(prefix="/v1/accounts/{account_id}/users", tags=["users"], responses=FIREWORKS_FAILURES)

_ROLES = {"admin": Role.ADMIN, "user": Role.USER, "contributor": Role.USER, "viewer": Role.VIEWER}
"""What clients call the roles."""


def _by_admin(call: Called, account_id: AccountId) -> Call:
    call.tenant(account_id)
    if call.caller.role is not Role.ADMIN:
        message = "Users and keys are an admin's business; ask one, or use an admin's key."
        raise Refused(HTTPStatus.FORBIDDEN, "insufficient_permissions", message)
    return call


ByAdmin = Annotated[Call, Depends(_by_admin)]


class UserBody(Body):
    """What a client says of a user."""

    role: str | None = None
    display_name: str | None = None
    email: str | None = None


class KeyBody(Body):
    """What a client says of a key."""

    display_name: str = "default"
    expire_time: str | None = None


class CreateKey(Body):
    """The body of a key's create."""

    api_key: KeyBody = KeyBody()


class DeleteKey(Body):
    """The body of a key's delete."""

    key_id: str


@router.post("")
def create_user(call: ByAdmin, body: UserBody, userId: Annotated[str, Parameter()]) -> Json:  # noqa: N803
    """Make a user."""
    user = User(call.caller.account_id, userId, call.now)
    return _user(call.server.users.create(_changed(user, body)))


@router.get("")
def list_users(call: ByAdmin) -> Json:
    """The users of the account."""
    users = [_user(user) for user in call.server.users.of_account(call.caller.account_id)]
    return {"users": users, "nextPageToken": "", "totalSize": len(users)}


@router.get("/{user_id}")
def get_user(call: ByAdmin, user_id: str) -> Json:
    """One user."""
    return _user(_existing(call, user_id))


@router.patch("/{user_id}")
def update_user(call: ByAdmin, user_id: str, body: UserBody) -> Json:
    """Change a user; keys that were made before keep their role."""
    return _user(call.server.users.update(_changed(_existing(call, user_id), body)))


@router.post("/{user_id}/apiKeys")
def create_key(call: ByAdmin, user_id: str, body: CreateKey) -> Json:
    """Make a key of a user. It is in this answer, and in no other."""
    user, told = _existing(call, user_id), body.api_key
    secret, key = call.server.keys.create(
        user.account_id,
        user_id=user.user_id,
        role=user.role,
        display_name=told.display_name,
        expires_at=_time(told.expire_time),
    )
    return _key(key, user) | {"key": secret}


@router.get("/{user_id}/apiKeys")
def list_keys(call: ByAdmin, user_id: str) -> Json:
    """The keys of a user."""
    user = _existing(call, user_id)
    keys = [_key(key, user) for key in call.server.keys.of_account(user.account_id) if key.user_id == user.user_id]
    return {"apiKeys": keys, "nextPageToken": "", "totalSize": len(keys)}


@router.post("/{user_id}/apiKeys:delete")
def delete_key(call: ByAdmin, user_id: str, body: DeleteKey) -> Json:
    """Let a key in no more."""
    user = _existing(call, user_id)
    if not call.server.keys.delete(user.account_id, body.key_id):
        raise not_there("API key", body.key_id)
    return {}


def _existing(call: Call, user_id: str) -> User:
    user = call.server.users.get(call.caller.account_id, user_id)
    if user is None:
        raise not_there("user", user_id)
    return user


def _changed(user: User, body: UserBody) -> User:
    if body.role is not None and body.role not in _ROLES:
        raise invalid("role", f"Invalid value: {body.role!r}. Expected one of {', '.join(_ROLES)}.")
    return replace(
        user,
        role=user.role if body.role is None else _ROLES[body.role],
        display_name=user.display_name if body.display_name is None else body.display_name,
        email=user.email if body.email is None else body.email,
    )


def _time(text: str | None) -> str:
    try:
        return rfc3339(parse_rfc3339(text)) if text else ""
    except ValueError:
        raise invalid("apiKey.expireTime", f"{text!r} is no time, such as 2027-01-31T12:00:00Z.") from None


def _user(user: User) -> Json:
    return {
        "name": f"accounts/{user.account_id}/users/{user.user_id}",
        "role": user.role.value,
        "displayName": user.display_name,
        "email": user.email,
        "createTime": user.created_at,
        "state": "READY",
    }


def _key(key: ApiKey, user: User) -> Json:
    shown = {
        "keyId": key.key_id,
        "displayName": key.display_name,
        "prefix": key.prefix,
        "email": user.email,
        "createTime": key.created_at,
        "secure": True,
    }
    return shown | ({"expireTime": key.expires_at} if key.expires_at else {})
