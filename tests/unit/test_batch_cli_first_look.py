"""Jobs all of whose first rows are wrong, at the command line: refused before anything starts, unless that was said."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from command_line import CommandLine
from specs import chat_line

RUN = ("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")
CREATE = ("create", "bij", "--model", "m", "--engine", "echo", "-d", "questions", "--job-id", "j1")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A folder with rows for another model, and workers that end at once."""
    rows = [json.dumps(chat_line(f"row-{n}", model="gpt-4o", temprature=0)) + "\n" for n in range(1200)]
    (tmp_path / "in.jsonl").write_text("".join(rows))
    call = CommandLine(tmp_path, monkeypatch, capsys)
    call("create", "dataset", "questions", "in.jsonl")
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    return call


@pytest.mark.parametrize("command", [RUN, CREATE, (*RUN, "--on-invalid", "fail"), (*CREATE, "--dry-run")])
def test_nothing_is_started_when_the_first_thousand_rows_fail_for_one_setting(
    call: CommandLine, tmp_path: Path, command: tuple[str, ...]
) -> None:
    ended = call(*command)

    assert (ended.code, ended.out) == (2, "")
    assert "Nothing was started" in ended.err
    assert "first 1,000 rows fail for one reason" in ended.err
    assert 'in.jsonl:1: model_mismatch: model="gpt-4o"' in ended.err
    assert "--row-model ignore" in ended.err
    assert not (tmp_path / "out").exists()
    assert "j1" not in call("list", "bij").out


@pytest.mark.parametrize("command", [RUN, CREATE])
def test_who_says_that_bad_rows_are_no_matter_is_warned(call: CommandLine, command: tuple[str, ...]) -> None:
    ended = call(*command, "--on-invalid", "quarantine")

    assert ended.code != 2
    assert "warning: the first 1,000 rows fail for one reason: " in ended.err


@pytest.mark.parametrize("command", [RUN, CREATE])
def test_the_flag_that_helps_helps(call: CommandLine, command: tuple[str, ...]) -> None:
    ended = call(*command, "--row-model", "ignore")

    assert ended.code != 2
    assert "fail for one reason" not in ended.err
    assert "warning: temprature, in 1,000 of the first 1,000 rows: " in ended.err
    assert "did you mean temperature?" in ended.err


def test_in_json_a_warning_is_an_object_on_stderr(call: CommandLine) -> None:
    ended = call(*RUN, "--row-model", "ignore", "--carry", "level", "-o", "json")

    told = [json.loads(line) for line in ended.err.splitlines()]
    assert told[0] == {"warning": "--carry level: none of the first 1,000 rows has it."}
    assert told[1]["warning"].startswith("temprature")


def test_validate_warns_too(call: CommandLine) -> None:
    ended = call("validate", "in.jsonl", "--carry", "level")

    assert ended.code == 0
    assert [line.split(":")[1] for line in ended.err.splitlines()] == [
        " --carry level",
        " temprature, in 1,000 of the first 1,000 rows",
    ]


def test_validate_shows_how_far_it_is_with_a_large_file(call: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "large.jsonl").write_text('{"prompt": "1 + 1?"}\n' * 12_000 + "{\n" * 500)

    text, as_json = call("validate", "large.jsonl"), call("validate", "large.jsonl", "-o", "json")

    assert text.err.splitlines()[0] == "scanning: 10,000 lines read"
    assert "checking; 10,000/12,500 rows (80 %)" in text.err
    assert [json.loads(line)["phase"] for line in as_json.err.splitlines()][:1] == ["scanning"]
    assert json.loads(as_json.out.splitlines()[-1])["failed"] == 500
