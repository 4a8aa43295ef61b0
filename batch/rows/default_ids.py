"""Labels of files: how a row without an id of its own is called after its file, shortly and without confusion.

Knows nothing of stores: works on the text of URIs alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WILDCARD = re.compile(r"[*?\[]")


def common_root(inputs: Sequence[str]) -> str:
    """Return the deepest folder, with its "/", that holds all that the URIs and patterns name; "" where none does."""
    folders = [_folder(named) for named in inputs]
    shared = []
    for steps in zip(*(folder.split("/") for folder in folders), strict=False):
        if len(set(steps)) > 1:
            break
        shared.append(steps[0])
    return "/".join(shared) + "/" if shared else ""


def label(root: str, file: str) -> str:
    """Return the file's path under the root: its name alone for a job over one file or one flat folder's pattern."""
    return file.removeprefix(root)


def _folder(named: str) -> str:
    literal = _WILDCARD.split(named, maxsplit=1)[0]
    return literal.rpartition("/")[0]
