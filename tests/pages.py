"""The blocks of code in a page for users."""

import re
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Those of a language; "" are those that name none."""
    return [block for named, block in _BLOCK.findall(page.read_text(encoding="utf-8")) if named == language]
