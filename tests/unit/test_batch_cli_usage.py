"""Bad usage of the command line: one sentence on stderr, exit 2, nothing started and nothing written."""

import json
from pathlib import Path

import pytest
from command_line import CommandLine, Ended

ROWS = [
    {
        "custom_id": f"row-{i}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": [], "max_tokens": 4},
    }
    for i in range(3)
]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return CommandLine(tmp_path, monkeypatch, capsys)


def assert_refused(ended: Ended, *words: str) -> None:
    assert ended.code == 2, ended
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "Traceback" not in ended.err
    for word in words:
        assert word in ended.err, ended.err


RUN = ("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*RUN, "--engine-arg", "dela_s=1"), ("dela_s", "delay_s")),
        (
            ("run", "in.jsonl", "--model", "org/m", "--output", "out", "--engine-arg", "max_num_seq=8"),
            ("max_num_seqs",),
        ),
        ((*RUN, "--engine-arg", "gpus=4097"), ("4097 ranks", "cores", "this machine has")),
        (
            ("run", "in.jsonl", "--model", "org/m", "--output", "out", "--replicas", "4097"),
            ("4097 engines", "cores", "--replicas"),
        ),
        (
            ("run", "in.jsonl", "--model", "org/m", "--output", "out", "--engine-arg", "tensor_parallel_size=0"),
            ("tensor_parallel_size=", "at least 1"),
        ),
        (
            ("run", "in.jsonl", "--model", "org/m", "--output", "out", "--engine-arg", "tool_call_parser=hermess"),
            ("hermes", "qwen3_xml", "did you mean"),
        ),
        ((*RUN, "--engine-arg", "delay_s"), ("KEY=VALUE",)),
        ((*RUN, "--engine-arg", "delay_s=1", "--engine-arg", "delay_s=2"), ("delay_s", "twice")),
        ((*RUN, "--temperature", "3.5"), ("temperature", "3.5")),
        ((*RUN, "--temperature", "hot"), ("temperature", "hot")),
        ((*RUN, "--top-p", "0"), ("top_p",)),
        ((*RUN, "--max-tokens", "0"), ("max_tokens",)),
        ((*RUN, "-n", "0"), ("n=0",)),
        ((*RUN, "--extra-body", "{"), ("extra-body", "JSON")),
        ((*RUN, "--extra-body", "[1]"), ("object",)),
        ((*RUN, "--extra-body", '{"seed": NaN}'), ("extra-body", "not JSON")),
        ((*RUN, "--extra-body", '{"a": "\\ud800"}'), ("extra-body", "not JSON")),
        ((*RUN, "--extra-body", "[" * 20_000), ("extra-body", "not JSON")),
        ((*RUN, "--extra-body", '{"a": 1, "a": 2}'), ("extra-body", "twice")),
        ((*RUN, "--max-tokens", "1" + "0" * 30), ("max_tokens", "64-bit")),
        ((*RUN, "--system-prompt", "\udcff"), ("system_prompt", "UTF-8")),
        ((*RUN, "--deadline", "99999999d"), ("deadline_s", "at most")),
        ((*RUN, "-i", "more.jsonl"), ("'-i'", "INPUT")),
        ((*RUN, "--input-file", "more.jsonl"), ("'--input-file'", "INPUT")),
        ((*RUN, "-o", "out.jsonl"), ("out.jsonl", "text, json", "--output OUT")),
        (("list", "bij", "-o", "out.jsonl"), ("out.jsonl", "text, json, flag")),
        (("run", "in.jsonl", "-m", "m", "--engine", "echo", "--output", "memory://x"), ("memory://x", "one process")),
        (("run", "in.jsonl", "-m", "m", "--engine", "echo", "--output", "memory://"), ("memory://",)),
        ((*RUN, "--deadline", "soon"), ("24h",)),
        ((*RUN, "--deadline", "0s"), ("24h",)),
        ((*RUN, "--replicas", "0"), ("1:8",)),
        ((*RUN, "--replicas", "4:2"), ("1:8",)),
        ((*RUN, "--max-failed-rows", "5.5"), ("5%",)),
        ((*RUN, "--job-id", "a b"), ("job id", "a b")),
        ((*RUN, "--engine", "vlm"), ("vllm",)),
        ((*RUN, "--lora", "a"), ("KEY=VALUE",)),
        ((*RUN, "--prompt-template", "{"), ("template",)),
        ((*RUN, "--prompt-template", "{a.b}"), ("template",)),
        ((*RUN, "--messages-template", "none.json"), ("none.json",)),
        ((*RUN, "--prompt-template", "{q}", "--messages-template", "in.jsonl"), ("in.jsonl",)),
        ((*RUN, "--no-such-flag"), ("--no-such-flag",)),
        (("run", "in.jsonl", "--output", "out"), ("--model",)),
        (("run", "in.jsonl", "--model", "m"), ("--output",)),
        (("run", "--model", "m", "--output", "out"), ("INPUT",)),
        (("run", "missing.jsonl", "--model", "m", "--engine", "echo", "--output", "out"), ("missing.jsonl",)),
        (("run", "none-*.jsonl", "--model", "m", "--engine", "echo", "--output", "out"), ("none-*.jsonl",)),
        (("run", "in.docx", "--model", "m", "--engine", "echo", "--output", "out"), ("in.docx",)),
        (("run", "http://host/in.jsonl", "--model", "m", "--engine", "echo", "--output", "out"), ("http://host",)),
        (("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "ftp://host/out"), ("ftp://host",)),
        (("run", "in.jsonl", "--model", "./nowhere", "--output", "out"), ("./nowhere",)),
        (("run", "in.jsonl", "--model", "ftp://host/m", "--output", "out"), ("ftp://host/m",)),
        (("run", "in.jsonl", "--model", "org/m", "--lora", "a=./nowhere", "--output", "out"), ("./nowhere",)),
        (("frobnicate",), ("frobnicate", "run")),
        (("vaildate", "in.jsonl"), ("did you mean validate",)),
        (("get", "mdoel", "x"), ("get", "did you mean model")),
        (("get", "model", "x"), ("--root",)),
        (("validate", "missing.jsonl"), ("missing.jsonl",)),
        (("results", "./nowhere"), ("nowhere",)),
        (("results", "no-such-job"), ("no-such-job",)),
        (("watch", "no-such-job"), ("no-such-job",)),
        (("logs", "no-such-job"), ("no-such-job",)),
        (("cancel", "no-such-job"), ("no-such-job",)),
        (("resume", "no-such-job"), ("no-such-job",)),
        (("get", "bij", "no-such-job"), ("no-such-job",)),
        (("get", "dataset", "no-such-dataset"), ("no-such-dataset",)),
        (("whoami", "-p", "nobody"), ("nobody",)),
    ],
    ids=lambda value: " ".join(value)[-60:] if isinstance(value, tuple) else None,
)
def test_bad_usage_is_refused_in_one_sentence(
    call: CommandLine, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_refused(call(*arguments), *words)

    assert not (tmp_path / "out").exists()


def test_a_model_folder_without_a_config_is_refused(call: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()

    assert_refused(call("run", "in.jsonl", "--model", "model", "--output", "out"), "model", "config.json")
    assert not (tmp_path / "out").exists()


def test_an_output_with_foreign_results_is_refused(call: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "out" / "results").mkdir(parents=True)
    (tmp_path / "out" / "results" / "mine.csv").write_text("precious")

    assert_refused(call(*RUN), "results/mine.csv", "another output")
    assert not (tmp_path / "out" / "_job").exists()


def test_an_output_that_is_a_file_is_refused(call: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")

    assert_refused(call(*RUN), "out is a file")
    assert (tmp_path / "out").read_text() == "precious"


def test_on_invalid_fail_lists_every_bad_line_and_starts_nothing(call: CommandLine, tmp_path: Path) -> None:
    bad = '{"custom_id": "row-0", "body": {"messages": []}}\nnot json\n[1]\n{"body": {"messages": []}}\n'
    with (tmp_path / "in.jsonl").open("a") as stream:
        stream.write(bad)

    ended = call(*RUN, "--on-invalid", "fail")

    lines = ended.err.splitlines()
    assert ended.code == 2
    assert [line.split("in.jsonl:")[1].rsplit(": ", 1)[0].split(": ")[0] for line in lines[:4]] == ["4", "5", "6", "7"]
    for line, code in zip(
        lines, ("duplicate_custom_id", "malformed_json", "not_an_object", "missing_custom_id"), strict=False
    ):
        assert code in line
    assert "4 lines are invalid" in lines[4]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "loop", "--model", "m", "--engine", "echo", "--output", "out"),
        ("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "loop"),
        ("validate", "loop/in.jsonl"),
        ("results", "./loop"),
    ],
)
def test_a_link_to_itself_is_told_in_one_sentence(
    call: CommandLine, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "in.jsonl").write_text('{"custom_id": "a", "prompt": "1 + 1?"}\n')
    (tmp_path / "loop").symlink_to("loop")

    ended = call(*arguments)

    assert ended.code in (1, 2)
    assert "loop" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_folder_to_stand_in_that_is_gone_is_told_in_one_sentence(
    call: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        ended = call("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")
    finally:
        monkeypatch.chdir(tmp_path)

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "the folder that you stand in is gone" in ended.err
