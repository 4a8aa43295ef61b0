import pytest
import requests

from connectors.errors import Forbidden, NotFound, StoreError, Unavailable
from connectors.stores.cloud.errors import meaning


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("Forbidden: b/{}/o/{}\nno access"), Forbidden),  # gcsfs, of a 403
        (requests.exceptions.ProxyError(), Unavailable),  # gcsfs, of a 502
        (PermissionError("Access Denied"), Forbidden),
        (FileNotFoundError("k"), NotFound),
        (TimeoutError(), Unavailable),
        (ConnectionResetError("reset"), Unavailable),
        (ValueError("Connection string is blank"), StoreError),
    ],
)
def test_an_error_of_a_client_becomes_ours(error: Exception, kind: type[StoreError]) -> None:
    assert type(meaning(error, "gs://b/k")) is kind


def test_what_a_server_says_stays_on_one_line() -> None:
    assert str(meaning(OSError("bad\n\x1b[31mred"), "s3://b/k")) == "s3://b/k: bad\\n\\x1b[31mred"
