"""From what Ray raises to the one sentence that a person needs. Knows nothing of jobs' objects."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.data.exceptions import SystemException
from ray.exceptions import ActorDiedError, RayError

from batch.errors import BatchError, JobFailed
from connectors.errors import InputError, StoreError

_OURS = (BatchError, StoreError, InputError)
_RAYS_ADVICE = "\nFailed to apply UDF transform"


@contextmanager
def job_failures() -> Iterator[None]:
    """Turn an exception of the Ray graph into the BatchError or StoreError at its root, else into JobFailed."""
    try:
        yield
    except RayError as error:
        root = _root(error)
        if isinstance(root, _OURS):
            root.args = (str(root).partition(_RAYS_ADVICE)[0], *root.args[1:])
            raise root from error
        if isinstance(root, ActorDiedError) and root.actor_init_failed:
            raise JobFailed(
                f"An engine actor cannot start: {_first_line(root)} (the log has the whole story)"
            ) from error
        if isinstance(root, ActorDiedError):
            raise JobFailed("The engine died too often; its last words are in the log. Run again to resume.") from error
        raise JobFailed(f"{type(root).__name__}: {_first_line(root)} (the log has the whole story)") from error


def _root(error: BaseException) -> BaseException:
    """The first error of ours below Ray's, which may wear its class; else the last cause."""
    while isinstance(error, RayError) or not isinstance(error, _OURS):
        group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        cause = group[0] if group else getattr(error, "cause", None) or error.__cause__
        if not isinstance(cause, BaseException) or isinstance(
            cause, SystemException
        ):  # an empty one, put in by Ray Data
            return error
        error = cause
    return error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[-1] if isinstance(error, RayError) and text else text.split("\n")[0]
