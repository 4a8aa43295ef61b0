"""Labels of files: how a row without an id of its own is called after its file, shortly and without confusion.

Knows nothing of stores: works on the text of URIs alone.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence

_WILDCARD = re.compile(r"[*?\[]")


def common_root(inputs: Sequence[str]) -> str:
    """Return the deepest folder, ending in "/", that holds everything the URIs and patterns name; "" where none does."""
    folders = [_folder(named) for named in inputs]
    return os.path.commonprefix(folders).rpartition("/")[0] + "/" if folders else ""


def label(root: str, file: str) -> str:
    """Return the file's path under the root: its name alone for a job over one file or one flat folder's pattern."""
    return file.removeprefix(root)


def _folder(named: str) -> str:
    literal = _WILDCARD.split(named, maxsplit=1)[0]
    return literal.rpartition("/")[0] + "/"
