"""Which workspace the SDK opens."""

import pytest

from batch.sdk.open_workspace import open_workspace


def test_the_workspace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHCTL_WORKSPACE", "memory://from-the-environment")
    monkeypatch.setenv("BATCHCTL_ACCOUNT_ID", "acme")
    assert (open_workspace(None).uri, open_workspace(None).account_id) == ("memory://from-the-environment", "acme")
    assert open_workspace("memory://given").uri == "memory://given"


def test_without_any_setting_it_is_a_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BATCHCTL_WORKSPACE", "BATCHCTL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/nowhere/share")
    assert open_workspace(None).uri == "file:///nowhere/share/batchctl/workspace"
