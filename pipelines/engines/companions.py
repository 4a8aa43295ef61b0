"""Packages that pip brings beside torch, for whichever build of it; those of another build break vLLM's imports.

Knows nothing of what they are for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

from batch.errors import UsageError

COMPANIONS = ("torchvision", "torchaudio", "torchcodec")


@contextmanager
def misfits_named() -> Iterator[None]:
    """Turn what an import raises into UsageError, where one of them cannot be imported by itself either."""
    try:
        yield
    except Exception as error:
        misfits = [name for name in COMPANIONS if find_spec(name) and not _is_importable(name)]
        if not misfits:
            raise
        raise UsageError(
            f"vLLM cannot be imported beside {' and '.join(misfits)}, made for another build of torch than the "
            f"{version('torch')} that is installed: remove with `pip uninstall {' '.join(misfits)}`"
        ) from error


def _is_importable(name: str) -> bool:
    try:
        import_module(name)
    except Exception:  # noqa: BLE001 - a library of another build raises what it likes
        return False
    return True
