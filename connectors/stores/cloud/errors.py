"""What a storage client's exception means, in our own errors. Knows nothing of calls or retries."""

import sys
from collections.abc import Iterator
from http import HTTPStatus

from connectors.errors import Changed, Forbidden, NotFound, StoreError, Unavailable

_VENDOR_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)
_NO_CONNECTION = (
    ("botocore.exceptions", "HTTPClientError"),
    ("botocore.exceptions", "ConnectionError"),
    ("botocore.exceptions", "IncompleteReadError"),
    ("aiohttp", "ClientError"),
    # What gcsfs makes of a 502.
    ("requests.exceptions", "RequestException"),
    ("google.auth.exceptions", "TransportError"),
    ("azure.core.exceptions", "IncompleteReadError"),
    ("azure.core.exceptions", "ServiceRequestError"),
    ("azure.core.exceptions", "ServiceResponseError"),
)
_NO_CREDENTIALS = (
    ("botocore.exceptions", "NoCredentialsError"),
    ("botocore.exceptions", "PartialCredentialsError"),
    ("google.auth.exceptions", "DefaultCredentialsError"),
    ("google.auth.exceptions", "RefreshError"),
    ("azure.core.exceptions", "ClientAuthenticationError"),
)
_CREDENTIALS = "AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_CONNECTION_STRING"
_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def vendor_errors() -> tuple[type[Exception], ...]:
    """The exceptions that a client raises for what the service, the network or its settings did."""
    return (OSError, TimeoutError, ValueError, *_loaded(_VENDOR_ERRORS))


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an exception, looked for along its causes."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            response = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for status in (response, *(getattr(cause, name, None) for name in ("status_code", "status", "code"))):
            if isinstance(status, int | str) and str(status).isdigit():
                return int(status)
    return None


def meaning(error: Exception, address: str) -> StoreError:
    """Our error for a client's: Unavailable where trying again may help."""
    status = status_of(error)
    text = f"{address}: {_printable(str(error))[:300] or type(error).__name__}"
    if status == HTTPStatus.PRECONDITION_FAILED:
        return Changed(f"{address} changed: it is no longer the version that was planned")
    if status == HTTPStatus.NOT_FOUND or isinstance(error, FileNotFoundError):
        return NotFound(f"{address} does not exist")
    if status in _DENIED or isinstance(error, PermissionError) or _is_gcsfs_denial(error):
        return Forbidden(f"{text} (access denied: check the credentials and the bucket's policy)")
    if any(isinstance(cause, _loaded(_NO_CREDENTIALS)) for cause in _causes(error)):
        return Forbidden(f"{text} (no credentials: set them in the environment, as {_CREDENTIALS})")
    if status is not None and (status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT):
        return Unavailable(f"{text} (HTTP {status})")
    lost: tuple[type[Exception], ...] = (TimeoutError, ConnectionError, *_loaded(_NO_CONNECTION))
    if any(isinstance(cause, lost) for cause in _causes(error)):
        return Unavailable(f"{text} (no proper answer: is the endpoint right and reachable?)")
    return StoreError(text)


def _is_gcsfs_denial(error: Exception) -> bool:
    return type(error) is OSError and str(error).startswith("Forbidden: ")


def _printable(text: str) -> str:
    """One line: a server's answer may hold anything."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text.strip())


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _loaded(names: tuple[tuple[str, str], ...]) -> tuple[type[Exception], ...]:
    """The classes of these names; a client that was never imported cannot have raised one."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception))
