"""`create|get|list|update|delete account|api-key|model`, and what `serve` refuses before it starts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine

from batch.server.admin.keys import Role
from batch.server.admin.root import ServerRoot
from batch.server.server import BatchServer


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "root")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def asked(call: CommandLine, root: str) -> Callable[..., Any]:
    """A command's answer as JSON."""

    def ask(*words: str) -> Any:
        return json.loads(call(*words, "--root", root, "-o", "json").out)

    return ask


def test_an_account_with_its_limits(root: str, call: CommandLine, asked: Callable[..., Any]) -> None:
    made = asked("create", "account", "team", "--display-name", "The team")
    assert (made["id"], made["display_name"], made["max_priority"]) == ("team", "The team", None)
    changed = asked("update", "account", "team", "--max-priority", "3", "--max-stored-bytes", "9")
    assert (changed["display_name"], changed["max_priority"], changed["max_stored_bytes"]) == ("The team", 3, 9)
    assert asked("get", "account", "team") == changed
    assert [each["id"] for each in asked("list", "accounts")["accounts"]] == ["team"]
    assert "no account 'other'" in call("get", "account", "other", "--root", root).err


def test_a_key_is_shown_once(root: str, call: CommandLine, asked: Callable[..., Any]) -> None:
    call("create", "account", "team", "--root", root)
    made = asked("create", "api-key", "--account", "team", "--user", "ada", "--role", "viewer", "--expires-in", "90d")
    found = BatchServer(ServerRoot(root)).keys.find(made["key"])
    assert found is not None
    assert (found.user_id, found.role, found.account_id) == ("ada", Role.VIEWER, "team")
    (listed,) = asked("list", "api-keys", "--account", "team")["api_keys"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert made["key"] not in json.dumps(listed)
    assert call("delete", "api-key", made["id"], "--account", "team", "--root", root).code == 0
    assert asked("list", "api-keys", "--account", "team")["api_keys"] == []
    again = call("delete", "api-key", made["id"], "--account", "team", "--root", root)
    assert (again.code, "has no API key" in again.err) == (2, True)
    nobody = call("create", "api-key", "--account", "other", "--root", root)
    assert (nobody.code, "`batchctl create account other` makes it" in nobody.err) == (2, True)


def test_a_model_is_registered_changed_and_deleted(
    root: str, tmp_path: Path, call: CommandLine, asked: Callable[..., Any]
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    made = asked("create", "model", "m", "--source", str(folder), "--engine-arg", "max_model_len=8k")
    assert (made["source"], made["engine_args"]) == (str(folder), {"max_model_len": "8k"})
    adapter = asked("create", "model", "a", "--source", "org/adapter", "--lora-base", "m")
    assert (adapter["source"], adapter["base"]) == ("org/adapter", "m")
    assert asked("update", "model", "m", "--source", "org/new")["source"] == "org/new"
    assert asked("get", "model", "m")["source"] == "org/new"
    assert [each["id"] for each in asked("list", "models")["models"]] == ["a", "m"]
    assert "is the base of a" in call("delete", "model", "m", "--root", root).err
    for name in ("a", "m"):
        assert call("delete", "model", name, "--root", root).code == 0
    assert "there are: none" in call("get", "model", "m", "--root", root).err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--no-auth", "--host", "0.0.0.0"), "0.0.0.0 is not loopback"),
        (("--grpc-port", "1", "--host", "0.0.0.0"), "--grpc-insecure"),
        (("--tls-cert", "/dev/null"), "go together"),
        (("--port", "70000"), "70000"),
    ],
)
def test_what_serve_refuses(root: str, call: CommandLine, flags: tuple[str, ...], told: str) -> None:
    refused = call("serve", "--root", root, *flags)
    assert refused.code == 2
    assert told in refused.err
    assert not Path(root).exists()
