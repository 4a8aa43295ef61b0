"""Calls batchctl inside the test's process, in a folder and an environment of its own."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from batch.cli.main import batchctl

_VARIABLES = ("BATCHCTL_WORKSPACE", "BATCHCTL_PROFILE", "BATCHCTL_ACCOUNT_ID", "BATCHCTL_API_KEY", "BATCHCTL_CONFIG")
_FOLDERS = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


class CommandLine:
    """`call("run", ...)` gives the exit code and what was printed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(folder)
        for name in _VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name in _FOLDERS:
            monkeypatch.setenv(name, str(folder / "home"))
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ended:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            batchctl.main(list(arguments))
        captured = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, captured.out, captured.err)
