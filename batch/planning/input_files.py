"""Finds the files that a job reads. Results and errors of a job that lie in an input folder are none of them."""

import logging
from collections.abc import Callable, Sequence

from batch import layout
from connectors.datasets import reader
from connectors.datasets.discovery import Apart
from connectors.datasets.reader import InputFile

logger = logging.getLogger(__name__)


def find_inputs(patterns: Sequence[str], tell: Callable[[str], object] = logger.info) -> list[InputFile]:
    """As the reader's `find_inputs`, without the outputs of jobs below a folder; `tell` is told of each of those."""

    def tell_of(folder: str) -> None:
        tell(f"{folder} is a job's output: its files are left out of the input folder that it lies in")

    return reader.find_inputs(patterns, Apart(layout.SPEC, tell_of))
