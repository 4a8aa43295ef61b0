"""Batch inference jobs over dataset files: the words of the domain and the control plane.

`from batch import BatchInferenceJob, Dataset, run` loads them on first use. Knows nothing of Ray, vLLM or GPUs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch.sdk.dataset import Dataset
    from batch.sdk.job import BatchInferenceJob
    from batch.sdk.run import run

__version__ = "0.1.0"
__all__ = ["BatchInferenceJob", "Dataset", "__version__", "run"]

_HOMES = {"BatchInferenceJob": "batch.sdk.job", "Dataset": "batch.sdk.dataset", "run": "batch.sdk.run"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
