"""From what Ray raises to the one sentence that a person needs. Knows nothing of jobs' objects."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.data.exceptions import SystemException
from ray.exceptions import ActorDiedError, RayError

from batch.errors import JobFailed
from pipelines.errors import Ours, first_line, root_cause, unforeseen

_RAYS_ADVICE = "\nFailed to apply UDF transform"


@contextmanager
def job_failures() -> Iterator[None]:
    """Turn an exception of the Ray graph into the BatchError or StoreError at its root, else into JobFailed."""
    try:
        yield
    except RayError as error:
        root = root_cause(error, wrappers=RayError, hollow=SystemException)  # which Ray Data puts in, empty
        if isinstance(root, Ours):
            root.args = (str(root).partition(_RAYS_ADVICE)[0], *root.args[1:])
            raise root from error
        if isinstance(root, ActorDiedError) and root.actor_init_failed:
            raise JobFailed(f"An engine actor cannot start: {_sentence(root)} (the log has the whole story)") from error
        if isinstance(root, ActorDiedError):
            raise JobFailed("The engine died too often; its last words are in the log. Run again to resume.") from error
        raise unforeseen(root, _sentence(root)) from error


def _sentence(error: BaseException) -> str:
    """Of Ray's errors the last line, which is below a traceback."""
    lines = str(error).strip().splitlines()
    return lines[-1] if isinstance(error, RayError) and lines else first_line(error)
