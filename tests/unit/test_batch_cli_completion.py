"""TAB: what a shell is offered, by a real bash where there is one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from command_line import CommandLine

from batch import __version__
from batch.cli.main import batchctl
from batch.sdk.open_workspace import open_workspace
from batch.workspace.store import JobPointer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    call = CommandLine(tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("BATCHCTL_WORKSPACE", str(tmp_path / "ws"))
    (tmp_path / "in.jsonl").write_text(json.dumps({"custom_id": "a", "body": {}}) + "\n")
    call("create", "dataset", "questions", "in.jsonl")
    call("create", "dataset", "quotes", "in.jsonl")
    call("-w", "elsewhere", "create", "dataset", "others", "in.jsonl")
    for job_id in ("night-1", "night-2", "day"):
        open_workspace(None).create_job(JobPointer(job_id, str(tmp_path / job_id)))
    return call


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("re", ["resume", "results"]),
        ("get ", ["dataset", "batch-inference-job", "account", "model"]),
        ("get d", ["dataset"]),
        ("get dataset qu", ["questions", "quotes"]),
        ("-w elsewhere get dataset ", ["others"]),
        ("get bij night", ["night-1", "night-2"]),
        ("create bij -d ques", ["questions"]),
        ("logs d", ["dir:d", "day"]),
        ("cancel n", ["dir:n", "night-1", "night-2"]),
        ("resume bij day --retry-failed inv", ["invalid_utf8", "invalid_parameter"]),
        ("run --row", ["--row-model", "--row-timeout"]),
        ("run in.jsonl --row-model ", ["check", "ignore"]),
        ("run in", ["file:in"]),
        ("run in.jsonl --output ou", ["dir:ou"]),
        ("-w ftp://host get dataset ", []),
        ("update bij ", ["dataset", "account", "model"]),
    ],
)
def test_what_may_follow_is_offered(call: CommandLine, words: str, offered: list[str]) -> None:
    *before, incomplete = words.split(" ")

    items = BashComplete(batchctl, {}, "batchctl", "_BATCHCTL_COMPLETE").get_completions(before, incomplete)

    assert [item.value if item.type == "plain" else f"{item.type}:{item.value}" for item in items] == offered


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_and_ids(call: CommandLine, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "batchctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m batch "$@"\n')
    program.chmod(0o755)
    script = """
    eval "$(_BATCHCTL_COMPLETE=bash_source batchctl)"
    for line in "batchctl v" "batchctl get dataset q" "batchctl nonsense x"; do
        COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
        _batchctl_completion batchctl; echo "${COMPREPLY[@]}"
    done
    """
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    ended = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.stderr == ""
    assert ended.stdout.splitlines() == ["validate version", "questions quotes", ""]


def test_the_version_is_told_as_other_programs_do(call: CommandLine) -> None:
    assert call("--version").out == f"batchctl {__version__}\n"
