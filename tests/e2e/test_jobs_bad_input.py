"""One job over everything that can be wrong with a file: good rows are answered, each bad line is told by its place."""

import base64
import gzip
import subprocess
import time
from collections import Counter
from typing import Any, NamedTuple

import orjson
import pytest
import zstandard
from terminal import Output, Terminal

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

FILES = ("bad.jsonl", "cut.jsonl.gz", "cut.jsonl.zst", "empty.jsonl", "more.jsonl")
RUN = ("run", *FILES, "--model", "m", "--output", "out")
ECHO = ("--engine", "echo")
GOOD, BLANK = "good", "blank"


class Case(NamedTuple):
    """A line, and what becomes of it: good, blank or the code of its failure. `status`: of the response, if any."""

    raw: bytes
    fate: str
    custom_id: str | None = None
    status: int | None = None


def chat(custom_id: str | None, *, content: object = "hello", line: dict[str, Any] | None = None, **body: Any) -> bytes:
    asked = {"body": {"messages": [{"role": "user", "content": content}], **body}, **(line or {})}
    return orjson.dumps(({"custom_id": custom_id} if custom_id else {}) | asked)


def in_body(custom_id: str, member: bytes) -> bytes:
    """A line with a member that no serializer would write."""
    return chat(custom_id).replace(b'"messages"', member + b',"messages"')


IMAGE = [{"type": "image_url", "image_url": {"url": "http://192.0.2.1/a.png"}}]

CASES = [
    Case(b"\xef\xbb\xbf" + chat("first"), GOOD, "first"),
    Case(b"", BLANK),
    Case(b'{"custom_id": "cut", "body": {', "malformed_json"),
    Case(b"[1, 2]", "not_an_object"),
    Case(b'"text"', "not_an_object"),
    Case(b"null", "not_an_object"),
    Case(chat("latin").replace(b"hello", b"h\xe9llo"), "invalid_utf8"),
    Case(in_body("nan", b'"temperature":NaN'), "malformed_json"),
    Case(in_body("huge", b'"temperature":1e999'), "malformed_json"),
    Case(in_body("twice", b'"seed":1,"seed":2'), "malformed_json"),
    Case(in_body("digits", b'"seed":' + b"1" * 5000), "malformed_json"),
    Case(in_body("deep", b'"stop":' + b"[" * 5000 + b"]" * 5000), "malformed_json"),
    Case(chat("half").replace(b"hello", b"\\ud800"), "malformed_json"),
    Case(chat("return") + b"\r", GOOD, "return"),
    Case(chat("separators", content="a\u2028b\u0085c\x0bd"), GOOD, "separators"),
    Case(b"\x00\x1b[31mnot json\x07", "malformed_json"),
    Case(b" \t \r", BLANK),
    Case(chat(None), "missing_custom_id"),
    Case(chat("first", content="again"), "duplicate_custom_id", "first"),
    Case(chat("url", line={"url": "/v1/nonsense"}), "unsupported_endpoint", "url", 404),
    Case(chat("method", line={"method": "GET"}), "unsupported_endpoint", "method", 405),
    Case(chat("model", model="another"), "model_mismatch", "model", 404),
    Case(chat("hot", temperature=3.5), "invalid_parameter", "hot", 400),
    Case(chat("stream", stream=True), "invalid_parameter", "stream", 400),
    Case(chat("template", chat_template="{{ 1 }}"), "invalid_parameter", "template", 400),
    Case(chat("image", content=IMAGE), "media_forbidden", "image", 400),
    Case(orjson.dumps({"custom_id": "list", "body": []}), "invalid_parameter", "list", 400),
    Case(b'{"custom_id": "long", "body": "' + b"x" * (10 << 20) + b'"}', "line_too_long"),
    Case(chat("unicode", content="½ + ½ = 🙂"), GOOD, "unicode"),
    Case(chat("last"), GOOD, "last"),
]


class Ended(NamedTuple):
    terminal: Terminal
    said: subprocess.CompletedProcess[str]
    output: Output


@pytest.fixture(scope="module")
def ended(person: dict[str, str], ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "bad.jsonl").write_bytes(b"\n".join(case.raw for case in CASES))
    (folder / "empty.jsonl").touch()
    (folder / "more.jsonl").write_bytes(b"\r\n".join([chat("more"), chat("last"), chat("hot"), b""]))
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(chat("whole-gz") + b"\n") + gzip.compress(chat("half"))[:-9])
    whole, half = (zstandard.compress(text) for text in (chat("whole-zst") + b"\n", chat("half")))
    (folder / "cut.jsonl.zst").write_bytes(whole + half[:-1])
    terminal = Terminal(folder, person, ray=ray_cluster)
    said = terminal.run(*RUN, *ECHO)
    return Ended(terminal, said, Output(folder / "out"))


def failures(ended: Ended, file: str) -> list[dict[str, Any]]:
    return [row for row in ended.output.rows("errors") if row["error"]["file"].endswith(f"/{file}")]


def excerpt(error: dict[str, Any]) -> bytes:
    raw = error.get("raw")
    return base64.b64decode(error["raw_base64"]) if raw is None else raw.encode()


def test_the_job_completes(ended: Ended) -> None:
    assert ended.said.returncode == 0, ended.said.stderr
    assert "Traceback" not in ended.said.stdout + ended.said.stderr
    assert ended.output.manifest()["state"] == "COMPLETED"


def test_good_rows_are_answered_in_input_order(ended: Ended) -> None:
    answered = [row["custom_id"] for row in ended.output.rows("results")]

    expected = [case.custom_id for case in CASES if case.fate == GOOD]
    assert answered == [*expected, "whole-gz", "whole-zst", "more"]
    contents = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"] for row in ended.output.rows("results")
    }
    assert contents["separators"]["content"] == "a\u2028b\u0085c\x0bd"
    assert contents["unicode"]["content"] == "½ + ½ = 🙂"


def test_each_bad_line_has_its_code_and_its_custom_id(ended: Ended) -> None:
    told = {row["error"]["line"]: (row["error"]["code"], row["custom_id"]) for row in failures(ended, "bad.jsonl")}

    expected = enumerate(CASES, start=1)
    assert told == {n: (case.fate, case.custom_id) for n, case in expected if case.fate not in (GOOD, BLANK)}


def test_each_bad_line_is_found_at_its_place(ended: Ended) -> None:
    content = (ended.terminal.folder / "bad.jsonl").read_bytes()
    for row in failures(ended, "bad.jsonl"):
        error = row["error"]
        raw = CASES[error["line"] - 1].raw
        assert content[error["offset"] :].startswith(raw[:1000]), error["line"]
        shown = excerpt(error)
        assert raw[:256].startswith(shown)
        assert len(shown) >= min(len(raw), 253)  # a character that the cut would split is left out
        assert error["message"].isprintable()
        assert len(error["message"].encode()) <= 1000


def test_a_refused_row_has_the_answer_of_a_server(ended: Ended) -> None:
    for row in failures(ended, "bad.jsonl"):
        status = CASES[row["error"]["line"] - 1].status
        assert (row["response"] and row["response"]["status_code"]) == status, row
        if status is not None:
            assert row["response"]["body"]["error"]["code"] == status


@pytest.mark.parametrize("file", ["cut.jsonl.gz", "cut.jsonl.zst"])
def test_the_end_of_a_cut_file_is_a_failure_and_no_silence(ended: Ended, file: str) -> None:
    (row,) = failures(ended, file)

    assert row["error"]["code"] == "malformed_json"
    assert "cut off" in row["error"]["message"]


def test_an_id_that_another_file_uses_first_is_a_duplicate(ended: Ended) -> None:
    told = {row["custom_id"]: row["error"]["code"] for row in failures(ended, "more.jsonl")}

    assert told == {"last": "duplicate_custom_id", "hot": "duplicate_custom_id"}


def test_the_ledger_closes(ended: Ended) -> None:
    manifest = ended.output.manifest()

    results, errors = ended.output.rows("results"), ended.output.rows("errors")
    codes = Counter(row["error"]["code"] for row in errors)
    assert manifest["lines"] == manifest["blank"] + manifest["succeeded"] + manifest["failed"]
    assert (manifest["succeeded"], manifest["failed"]) == (len(results), len(errors))
    assert manifest["blank"] == sum(case.fate == BLANK for case in CASES)
    assert manifest["failed_by_code"] == dict(codes)
    assert [planned["lines"] for planned in manifest["inputs"]] == [len(CASES), 2, 2, 0, 3]
    assert len({row["id"] for row in results + errors}) == len(results) + len(errors)


def test_the_summary_counts_the_same(ended: Ended) -> None:
    manifest = ended.output.manifest()

    assert (
        f"{manifest['succeeded']} succeeded, {manifest['failed']} failed, {manifest['blank']} blank: "
        f"{manifest['lines']} lines in"
    ) in ended.said.stdout
    for code, count in manifest["failed_by_code"].items():
        assert f"{code} {count}" in ended.said.stdout
    assert "\x1b" not in ended.said.stdout


def test_the_same_command_again_does_nothing_and_is_quick(ended: Ended) -> None:
    began_s = time.monotonic()

    again = ended.terminal.run(*RUN, *ECHO)

    assert again.returncode == 0
    assert again.stdout == ended.said.stdout
    assert time.monotonic() - began_s < 5
    assert len(ended.output.attempts()) == 1
