"""Datasets and jobs of a workspace through the command line, without a worker."""

import json
import shlex
from pathlib import Path

import pytest
from command_line import CommandLine
from endings import end
from jobs import make_spec

from batch.planning.plan import make_plan
from batch.sdk.open_workspace import open_workspace
from batch.submission.submit import submit


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    (tmp_path / "in.jsonl").write_text('{"custom_id":"a","body":{"messages":[]}}\n\n{"custom_id":"b","body":{}}\n')
    return CommandLine(tmp_path, monkeypatch, capsys)


def test_a_dataset_from_its_creation_to_its_end(call: CommandLine, tmp_path: Path) -> None:
    created = json.loads(call("create", "dataset", "mine", "in.jsonl", "-o", "json").out)

    assert created["name"] == "accounts/local/datasets/mine"
    assert created["example_count"] == 2
    assert call("update", "dataset", "mine", "--display-name", "My own").code == 0
    assert (
        json.loads(call("get", "dataset", "accounts/local/datasets/mine", "-o", "json").out)["display_name"] == "My own"
    )
    assert call("download", "dataset", "mine", "--output-dir", "copy").out == "copy/in.jsonl\n"
    assert (tmp_path / "copy" / "in.jsonl").read_bytes() == (tmp_path / "in.jsonl").read_bytes()
    assert call("delete", "dataset", "mine").out == "Deleted dataset mine.\n"
    assert call("get", "dataset", "mine").code == 2


def test_an_external_dataset_is_read_in_place_and_its_files_stay(call: CommandLine, tmp_path: Path) -> None:
    call("create", "dataset", "there", "--external-url", str(tmp_path / "*.jsonl"))

    assert call("download", "dataset", "there", "--output-dir", "copy", "--quiet").code == 0
    assert (tmp_path / "copy" / "in.jsonl").exists()
    assert call("delete", "dataset", "there").code == 0
    assert (tmp_path / "in.jsonl").exists()


def test_a_pattern_that_no_shell_has_expanded_names_its_files(call: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"custom_id":"c","body":{}}\n')

    created = call("create", "dataset", "both", "*.jsonl", "--format", "json")

    assert json.loads(created.out)["example_count"] == 3
    assert call("download", "dataset", "both", "--output-dir", "copy").out == "copy/in.jsonl\ncopy/more.jsonl\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "dataset", "mine"), "--external-url"),
        (("create", "dataset", "mine", "in.jsonl", "--external-url", "x"), "not both"),
        (("create", "dataset", "mine", "missing.jsonl"), "missing.jsonl"),
        (("create", "dataset", "mine", "."), "is a folder"),
        (("create", "dataset", "mine", "*.csv"), "'*.csv'"),
        (("create", "dataset", "mine", "s3://b/k.jsonl"), "--external-url s3://b/k.jsonl"),
        (("create", "dataset", "mine", "in.jsonl", "-a", "\udcff"), "UTF-8"),
        (("create", "dataset", "a b", "in.jsonl"), "'a b'"),
        (("create", "dataset", "accounts/other/datasets/mine", "in.jsonl"), "accounts/local/datasets"),
        (("create", "bij", "-m", "m", "-d", "none", "--engine", "echo"), "'none'"),
        (("create", "bij", "-m", "m"), "--input-dataset-id"),
        (("list", "datasets", "--filter", "colour=red"), "colour"),
        (("list", "datasets", "--order-by", "name sideways"), "name sideways"),
        (("list", "bij", "--page-token", "x"), "page_token"),
        (("list", "datasets", "-o", "xml"), "xml"),
        (("list", "datasets", "--page-size", "0"), "1<=x<=200"),
        (("list", "bij", "--page-size", "201"), "1<=x<=200"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(call: CommandLine, arguments: tuple[str, ...], words: str) -> None:
    ended = call(*arguments)

    assert ended.code == 2
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1
    assert json.loads(call("list", "datasets", "-o", "json").out)["datasets"] == []


def test_an_existing_dataset_is_not_replaced(call: CommandLine) -> None:
    call("create", "dataset", "mine", "in.jsonl")

    ended = call("create", "ds", "mine", "in.jsonl")

    assert ended.code == 2
    assert "already exists" in ended.err


def test_a_dry_run_prints_and_creates_nothing(call: CommandLine) -> None:
    dataset = call("create", "dataset", "mine", "in.jsonl", "--dry-run", "-o", "json")
    assert json.loads(dataset.out)["id"] == "mine"
    assert call("get", "dataset", "mine").code == 2

    call("create", "dataset", "mine", "in.jsonl")
    job = ("create", "batch-inference-jobs", "-m", "m", "-d", "mine", "--engine", "echo", "--n", "2", "--dry-run")
    request = json.loads(call(*job).out)

    assert request["inference_parameters"] == {"n": 2}
    assert json.loads(call("list", "bij", "-o", "json").out) == {
        "batch_inference_jobs": [],
        "next_page_token": "",
        "total_size": 0,
    }


def test_a_list_goes_on_where_its_page_ended(call: CommandLine) -> None:
    for number in range(5):
        call("create", "dataset", f"d{number}", "in.jsonl", "--quiet")

    first = call("list", "datasets", "--page-size", "3")
    token = first.err.split("--page-token ")[1].strip()
    second = call("list", "datasets", "--page-size", "3", "--page-token", token)
    every = call("list", "datasets", "--page-size", "3", "--no-paginate")
    chosen = call("list", "datasets", "--filter", "name:d3", "-o", "flag")

    assert first.out.split()[:2] == ["ID", "STATE"]
    assert [line.split()[0] for line in first.out.splitlines()[1:]] == ["d0", "d1", "d2"]
    assert [line.split()[0] for line in second.out.splitlines()[1:]] == ["d3", "d4"]
    assert second.err == ""
    assert len(every.out.splitlines()) == 6
    assert "--id=d3" in shlex.split(chosen.out)


def test_names_from_users_cannot_drive_a_terminal(call: CommandLine) -> None:
    call("create", "dataset", "mine", "in.jsonl", "--display-name", "x\x1b[31m\ny", "--quiet")

    for mode in ("text", "flag"):
        assert "\x1b" not in call("list", "datasets", "-o", mode).out + call("get", "dataset", "mine", "-o", mode).out


def test_whoami_says_where_each_value_came_from(call: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHCTL_API_KEY", "secret-key-of-mine-1234")

    text = call("whoami", "-a", "team").out
    found = json.loads(call("-w", "s3://bucket/ws", "whoami", "-o", "json").out)

    assert "(flag)" in text
    assert "secret" not in text
    assert found["workspace"] == "s3://bucket/ws"
    assert found["sources"] == {"workspace": "flag", "account_id": "default", "api_key": "environment"}


def test_version_names_the_package(call: CommandLine) -> None:
    assert json.loads(call("version", "-o", "json").out)["batchctl"]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("create",), ("list", "-h"), ("run", "--help"), ("cancel",)])
def test_help_is_printed_and_is_no_error(call: CommandLine, arguments: tuple[str, ...]) -> None:
    ended = call(*arguments)

    assert ended.code == 0
    assert ended.out.startswith("Usage: batchctl")


def test_validate_counts_and_names_every_bad_line(call: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(
        '{"custom_id":"a","body":{"messages":[{"role":"user","content":"12345678"}]}}\n[]\n'
    )

    text = call("validate", "in.jsonl", "more.jsonl")
    lines = [json.loads(line) for line in call("validate", "in.jsonl", "more.jsonl", "-o", "json").out.splitlines()]
    good = call("validate", "more.jsonl", "--prompt-template", "{custom_id}", "--row-model", "ignore")

    assert text.code == 2
    assert f"{tmp_path}/more.jsonl:1: duplicate_custom_id: " in text.out
    assert f"{tmp_path}/more.jsonl:2: not_an_object: " in text.out
    assert [line.get("code") for line in lines[:-1]].count("duplicate_custom_id") == 1
    assert lines[-1]["lines"] == 5
    assert lines[-1]["blank"] == 1
    assert good.code == 2


def test_a_dataset_of_a_job_that_has_not_ended_is_deleted_by_force_only(call: CommandLine, tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "ws"))
    call("create", "dataset", "mine", "in.jsonl", "-w", "ws")
    spec = make_spec(
        inputs=workspace.inputs_of("mine"),
        output=workspace.dataset_uri("theirs"),
        input_dataset_id="mine",
        output_dataset_id="theirs",
    )
    submit(spec, workspace)

    read, written = (call("delete", "dataset", name, "-w", "ws") for name in ("mine", "theirs"))

    assert (read.code, written.code) == (2, 2)
    assert "Job 'job-1' reads dataset 'mine' and has not ended" in read.err
    assert "Job 'job-1' writes dataset 'theirs' and has not ended" in written.err
    assert call("delete", "dataset", "theirs", "--force", "-w", "ws").code == 0
    assert call("delete", "dataset", "mine", "-w", "ws").code == 0  # its job is gone with its output


def test_a_dataset_of_a_job_that_has_ended_may_be_deleted(call: CommandLine, tmp_path: Path) -> None:
    workspace = open_workspace(str(tmp_path / "ws"))
    call("create", "dataset", "mine", "in.jsonl", "-w", "ws")
    inputs, out = workspace.inputs_of("mine"), workspace.dataset_uri("theirs")
    spec = make_spec(inputs=inputs, output=out, input_dataset_id="mine", output_dataset_id="theirs")
    job = submit(spec, workspace)
    job.create_plan(make_plan(spec))
    end(job)

    assert [call("delete", "dataset", name, "-w", "ws").code for name in ("mine", "theirs")] == [0, 0]
