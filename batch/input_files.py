"""Finds the files that a job reads. Results and errors of a job that lie in an input folder are none of them."""

import logging
from collections.abc import Callable, Sequence

from batch import layout
from connectors import inputs
from connectors.finding import Apart
from connectors.inputs import InputFile

logger = logging.getLogger(__name__)


def find_inputs(patterns: Sequence[str], tell: Callable[[str], object] = logger.info) -> list[InputFile]:
    """As `connectors.inputs.find_inputs`, without the outputs of jobs below a folder; `tell` is told of each."""

    def tell_of(folder: str) -> None:
        tell(f"{folder} is a job's output: its files are left out of the input folder that it lies in")

    return inputs.find_inputs(patterns, Apart(layout.SPEC, tell_of))
