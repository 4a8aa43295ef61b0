"""What all tests share: the stores' fixtures, an interrupt that commands can hear, and which stay together."""

import signal

import pytest

pytest_plugins = ["stores"]

# A shell starts what runs in its background with SIGINT ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those of one file stay together, with what they start.

    Engines of vLLM take every core, so two at a time gain nothing: all their tests are one group, which begins first.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group("vllm" if _starts_vllm(item) else item.path.stem))
    items.sort(key=lambda item: not _starts_vllm(item))


def _starts_vllm(item: pytest.Item) -> bool:
    return item.get_closest_marker("vllm") is not None and item.path.parent.name in ("e2e", "chaos")
