import pickle

import pytest

from batch.errors import (
    BatchError,
    InputChanged,
    InvalidInput,
    JobFailed,
    JobHeld,
    JobNotFound,
    ResourcesUnavailable,
    SpecMismatch,
    UsageError,
)
from batch.result import Code, Place, RowFailure

FAILURE = RowFailure("a", Code.MALFORMED_JSON, "not JSON", Place("file:///x", 1, 0))


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (BatchError("no"), 1),
        (UsageError("no"), 2),
        (SpecMismatch("no", {"model": ("a", "b")}), 2),
        (InvalidInput("no", [FAILURE]), 2),
        (JobNotFound("no"), 2),
        (JobHeld("no", "host-1, pid 7"), 5),
        (JobFailed("no"), 1),
        (InputChanged("no"), 1),
        (ResourcesUnavailable("no"), 1),
    ],
)
def test_an_error_has_its_exit_code_and_survives_pickling(error: BatchError, exit_code: int) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == "no"
    assert copy.exit_code == exit_code
    assert vars(copy) == vars(error)


def test_what_a_handler_needs_is_on_the_error() -> None:
    assert SpecMismatch("no", {"model": ("a", "b")}).differences == {"model": ("a", "b")}
    assert InvalidInput("no", [FAILURE]).failures == [FAILURE]
    assert JobHeld("no", "host-1, pid 7").holder == "host-1, pid 7"


def test_a_handler_of_usage_errors_gets_mismatches_too() -> None:
    with pytest.raises(UsageError):
        raise SpecMismatch("no")
    with pytest.raises(JobFailed):
        raise InputChanged("no")
