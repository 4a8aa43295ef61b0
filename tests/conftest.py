"""What all tests share: the stores' fixtures, an interrupt that commands can hear, and which stay together."""

import signal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["stores"]

# A shell starts what runs in its background with SIGINT ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Say which tests stay together where several processes share them."""
    return FilesTogether(config, log)


class FilesTogether(LoadScopeScheduling):
    """The tests of one file stay together, with what they start; and all files of tests that start vLLM.

    An engine of vLLM takes every core, so that two at a time gain nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "vllm" if _starts_vllm(file) else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest group."""
    items.sort(key=lambda item: not _starts_vllm(item.nodeid.partition("::")[0]))


@cache
def _starts_vllm(file: str) -> bool:
    path = Path(__file__).parents[1] / file
    return path.parent.name in ("e2e", "chaos") and "pytest.mark.vllm" in path.read_text(encoding="utf-8")
