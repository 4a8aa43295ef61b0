"""The pages for users: their commands have flags that are there, and their lines of requests are requests."""

import ast
import inspect
import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from command_line import CommandLine
from pages import blocks
from specs import job_spec, line_of

import batch
from batch.cli.commands.run import run as run_command
from batch.exit_codes import ExitCode
from batch.rows.request import Decoder, Request
from batch.spec.engine_arguments import check_engine_args
from batch.spec.job_options import OPTIONS, SpecOptions
from batch.spec.job_spec import JobSpec
from batch.spec.parameters import FLAGS

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "architecture.md")
COMMAND = re.compile(r"(?:^|^  entrypoint: |^run=\()(?P<command>batchctl )")
"""Where a command begins: a line of its own, a RayJob's entrypoint, a script's array."""
MODELS = ("gpt-4o-mini", "sql")
CALLABLES: dict[str, Callable[..., object]] = {
    "batch.run": batch.run,
    "Dataset.from_file": batch.Dataset.from_file,
    "BatchInferenceJob.create": batch.BatchInferenceJob.create,
    "BatchInferenceJob.continue_from": batch.BatchInferenceJob.continue_from,
}


def lines(page: Path, language: str) -> list[str]:
    """The lines of a page's blocks of a language; "" is a block that names none."""
    return [line for block in blocks(page, language) for line in block.splitlines()]


def commands() -> list[str]:
    """Every command of every page, without what a shell does with its output and without what is said of it."""
    pages = [ROOT / "README.md", *PAGES]
    found = [line for page in pages for language in ("", "sh", "yaml") for line in lines(page, language)]
    starts = [(line, COMMAND.search(line)) for line in found]
    return [re.split(r" [|>] |   |\)$", line[at.start("command") :])[0] for line, at in starts if at]


def requests() -> list[tuple[str, str]]:
    return [(page.name, line) for page in PAGES for line in lines(page, "jsonl")]


@pytest.mark.parametrize("command", commands())
def test_every_flag_of_a_command_is_there(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = CommandLine(tmp_path, monkeypatch, capsys)

    ended = call(*shlex.split(command)[1:], "--help")

    assert ended.code == 0, ended.err


@pytest.mark.parametrize("command", [command for command in commands() if "--engine-arg" in command])
def test_every_engine_argument_of_a_command_is_one(command: str) -> None:
    words = shlex.split(command)
    given = dict(words[at + 1].split("=", 1) for at, word in enumerate(words) if word == "--engine-arg")

    assert check_engine_args("openai" if "openai" in words else "vllm", given)


@pytest.mark.parametrize(("page", "line"), requests())
def test_every_line_of_requests_is_a_request(page: str, line: str) -> None:
    decoder = Decoder(job_spec(served_model_names=MODELS))

    decoded = decoder.decode("page.jsonl", line_of(line.encode()))

    assert isinstance(decoded, Request), (page, decoded)


def test_the_page_of_parameters_has_a_row_for_each_in_their_order() -> None:
    page = (ROOT / "docs/parameters.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(-[\w-]+ \w+)` \| `(\w+)` \|", page, re.MULTILINE)

    assert rows == [(f"{flag.names[0]} {flag.metavar}", name) for name, flag in FLAGS.items()]


def test_the_page_of_states_has_each_exit_code() -> None:
    page = (ROOT / "docs/states-and-codes.md").read_text(encoding="utf-8")

    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == list(ExitCode)


def test_the_page_of_python_has_each_option_with_its_flag() -> None:
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| `(--[\w-]+)` \|", page, re.MULTILINE))
    spellings = {name: option.flag.split("/") for name, option in OPTIONS.items()}

    assert rows.keys() == spellings.keys()
    assert [name for name, flag in rows.items() if flag not in spellings[name]] == []


def test_each_option_of_a_job_is_a_field_a_flag_and_a_row_of_a_page() -> None:
    pages = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("parameters.md", "formats.md"))
    flags = {option.name: option.opts[0] for option in run_command.params}
    spellings = {name: option.flag.split("/") for name, option in OPTIONS.items()}

    assert list(OPTIONS) == list(SpecOptions.__annotations__)
    assert OPTIONS.keys() <= {field.name for field in fields(JobSpec)}
    assert {name: flags[name] for name in OPTIONS} == {name: first for name, (first, *_) in spellings.items()}
    assert [name for name, (*_, last) in spellings.items() if last not in pages] == []


def test_the_page_of_python_calls_what_is_there() -> None:
    calls = [
        call
        for block in blocks(ROOT / "docs/python.md", "python")
        for call in ast.walk(ast.parse(block))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in CALLABLES
    ]
    for call in calls:
        signature = inspect.signature(CALLABLES[ast.unparse(call.func)])
        known = {*signature.parameters, *SpecOptions.__annotations__}
        assert {keyword.arg for keyword in call.keywords} <= known, ast.unparse(call)
        signature.bind(*call.args, **{str(keyword.arg): keyword.value for keyword in call.keywords})
    assert {ast.unparse(call.func) for call in calls} == set(CALLABLES)


def test_there_is_something_to_look_at() -> None:
    assert [command for command in commands() if "--ray-address auto" in command]  # of a RayJob
    assert [command for command in commands() if '--ray-address "$address"' in command]  # of a script
    assert len(commands()) > 20
    assert len(requests()) > 10
