"""Whatever is typed, batchctl answers with words and an exit code: never with a traceback, nor a TAB with anything.

Ten thousand lists with BATCHCTL_TESTS=long. A failure names the seed of its list; `argument_list` makes it again.
"""

import io
import json
import shutil
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from argument_lists import argument_list
from click.shell_completion import BashComplete
from command_line import CommandLine
from long_run import LONG

from batch.cli.main import batchctl
from batch.exit_codes import ExitCode

LISTS = 10_000 if LONG else 800


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with inputs, a workspace and two jobs, whose workers end at once."""
    place = tmp_path / "deep" / "inside"
    place.mkdir(parents=True)
    call = CommandLine(place, monkeypatch, capsys)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    row = {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "1 + 1?"}]}}
    (place / "in.jsonl").write_text(json.dumps(row) + "\n")
    (place / "rows").mkdir()
    for name in "ab":
        (place / "rows" / f"{name}.jsonl").write_text('{"q": "1 + 1?"}\n')
    (place / "messages.json").write_text('[{"role": "user", "content": "{q}"}]')
    call("create", "dataset", "d1", "in.jsonl")
    call("create", "bij", "--job-id", "j1", "-m", "m", "-d", "d1", "--engine", "echo")
    call("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")
    return place


def ended(arguments: list[str]) -> tuple[object, str]:
    """The exit code, and what was printed where a terminal takes UTF-8 and nothing else."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        batchctl.main(arguments)
    return left.value.code, b"".join(stream.buffer.getvalue() for stream in (out, err)).decode()


@pytest.mark.timeout(900 if LONG else 120)
def test_no_argument_list_ends_in_a_traceback(folder: Path) -> None:
    codes: Counter[object] = Counter()
    for seed in range(LISTS):
        arguments = argument_list(seed)
        try:
            code, said = ended(list(arguments))
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {arguments}") from error
        assert code in list(ExitCode), (seed, arguments, said)
        assert "Traceback" not in said, (seed, arguments, said)
        codes[code] += 1
    assert codes[0] > LISTS // 50, codes


def test_whatever_stands_before_it_a_tab_gets_an_answer(folder: Path) -> None:
    for seed in range(LISTS):
        *before, incomplete = argument_list(seed)
        completion = BashComplete(batchctl, {}, "batchctl", "_BATCHCTL_COMPLETE")
        try:
            completion.get_completions(before, incomplete)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {before} {incomplete!r}") from error
