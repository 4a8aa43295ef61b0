"""A hundred thousand bad lines through the reader, the plan and the decoder: each is accounted for exactly once.

Two million with BATCHCTL_TESTS=long. A failure names the seed of its file; `file_of` makes it again.
"""

import json
import math
import re
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import orjson
import pytest
from dataset_files import PACKERS, expected_lines, written
from fuzzing import MAX_LINE_BYTES, any_line, good_line
from hypothesis import given, settings
from hypothesis import strategies as st
from long_run import LONG
from specs import job_spec

from batch.planning.plan import Plan, make_plan
from batch.result import Code, RowFailure, encode_result
from batch.rows.request import Decoder, Request
from batch.spec.job_spec import JobSpec
from batch.spec.parameters import InferenceParameters
from connectors.datasets.lines import Line
from connectors.datasets.reader import InputFile, PieceReader, scan

LINES = 2_000_000 if LONG else 100_000
LINES_PER_FILE = 2_000
SPECS = [
    job_spec(max_line_bytes=MAX_LINE_BYTES, shard_rows=150),
    job_spec(max_line_bytes=MAX_LINE_BYTES, shard_rows=7, row_model="ignore", carry=("method", "metadata")),
    job_spec(max_line_bytes=MAX_LINE_BYTES, parameters=InferenceParameters(max_tokens=3, system_prompt="Be brief.")),
    job_spec(max_line_bytes=MAX_LINE_BYTES, prompt_template="{body}", id_field="custom_id"),
]
KINDS = list(PACKERS)
# What a decoder may say of a line; the other codes come from engines and from a job's end.
DECODERS_CODES = set(list(Code)[: list(Code).index(Code.MEDIA_FORBIDDEN) + 1]) - {Code.PROMPT_TOO_LONG}
PROBLEMS = {"line_too_long": Code.LINE_TOO_LONG, "truncated": Code.MALFORMED_JSON}
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
UNREADABLE = {Code.MALFORMED_JSON, Code.INVALID_UTF8, Code.LINE_TOO_LONG, Code.NOT_AN_OBJECT}


def file_of(seed: int, lines: int = LINES_PER_FILE) -> bytes:
    random = Random(seed)
    raws = [any_line(random, random.randrange(3 * lines)) for _ in range(lines)]
    mark, end = random.choice([b"", b"\xef\xbb\xbf"]), random.choice([b"", b"\n", b"\r\n"])
    return mark + b"\n".join(raws) + end


def read_strictly(raw: bytes) -> object:
    """What the standard library makes of a line under the rules of batch.strict_json, or the code of its refusal."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return Code.INVALID_UTF8
    try:
        value: object = json.loads(text, object_pairs_hook=_unique, parse_int=_integer, parse_constant=_finite)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return Code.MALFORMED_JSON
    if not _is_flat(value):
        return Code.MALFORMED_JSON
    return value if isinstance(value, dict) else Code.NOT_AN_OBJECT


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _integer(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _finite(number: str) -> None:
    if not math.isfinite(float(number)):
        raise ValueError(f"{number} is not finite")


def _is_flat(value: object, levels: int = 64) -> bool:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return members is None or (levels > 0 and all(_is_flat(member, levels - 1) for member in members))


def planned_lines(spec: JobSpec, plan: Plan, random: Random) -> list[tuple[Line, bool]]:
    """The plan's lines as workers read them, with whether each repeats an id; the shards in any order."""
    reader = PieceReader(max_line_bytes=spec.max_line_bytes)
    shards = list(plan.shards)
    if random.random() < 0.5:
        random.shuffle(shards)
    read = {
        shard.index: [
            (line, line.number in span.duplicates)
            for span in shard.spans
            for line in reader.read(plan.file_of(shard, span), span.piece)
        ]
        for shard in shards
    }
    return [line for shard in plan.shards for line in read[shard.index]]


def assert_decoded_rightly(decoded: Request | RowFailure, line: Line, file: str) -> None:
    told = read_strictly(line.raw) if line.problem is None else PROBLEMS[line.problem]
    if isinstance(decoded, Request):
        assert isinstance(told, dict)
        given_id = told.get("custom_id")
        assert decoded.custom_id == (f"{Path(file).name}:{line.number}" if given_id is None else str(given_id))
        assert_sent_as_written(decoded, told)
        return
    if isinstance(told, dict):
        assert decoded.code not in UNREADABLE
    else:
        assert decoded.code == told
    error = orjson.loads(encode_result(decoded, "r"))["error"]
    assert (error["file"], error["line"], error["offset"]) == (file, line.number, line.offset)
    assert not UNSAFE.search(error["message"])
    assert line.raw.startswith(decoded.excerpt)


def assert_sent_as_written(request: Request, row: dict[str, object]) -> None:
    """What a template makes of a row has none of the row's own names but messages."""
    body = row.get("body", row)
    if isinstance(body, dict):
        for name in (body.keys() & request.body.keys()) - {"model", "messages"}:
            assert request.body[name] == body[name]


def fates_of(file: InputFile, spec: JobSpec, seed: int, expected: list[Line]) -> Counter[str]:
    """What became of every line of the file, by fate."""
    asked = replace(spec, inputs=(file.uri,))
    decoder, fates = Decoder(asked), Counter[str]()
    plan = make_plan(asked)
    fates["blank"] = plan.blank
    lines = [(line, duplicate) for line, duplicate in planned_lines(asked, plan, Random(seed)) if not line.is_blank]
    assert [line for line, _ in lines] == [line for line in expected if not line.is_blank], f"seed {seed}"
    for line, duplicate in lines:
        decoded = decoder.decode(file.uri, line, duplicate=duplicate)
        assert_decoded_rightly(decoded, line, file.uri)
        fates["decoded" if isinstance(decoded, Request) else decoded.code.value] += 1
    return fates


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_line_is_decoded_or_refused_once(tmp_path: Path) -> None:
    fates = Counter[str]()
    for seed in range(LINES // LINES_PER_FILE):
        content, kind = file_of(seed), KINDS[seed % len(KINDS)]
        expected = expected_lines(content, max_line_bytes=MAX_LINE_BYTES)
        found = fates_of(
            written(tmp_path, f"rows.{kind}", PACKERS[kind](content)), SPECS[seed % len(SPECS)], seed, expected
        )
        assert found.total() == len(expected)
        fates += found
    print(f"{fates.total():,} lines: {dict(fates)}")
    assert fates.total() >= LINES
    # A generator that has gone blind would prove nothing: every code that a decoder gives is among them, and often.
    rare = {code for code in DECODERS_CODES if fates[code] < LINES // 2000}
    assert not rare
    assert fates["decoded"] > LINES // 5


def test_good_lines_are_decoded_wherever_they_stand(tmp_path: Path) -> None:
    """Between bad ones, in any format: no bad line takes its neighbours along."""
    for seed in range(30):
        random, kind = Random(seed), KINDS[seed % len(KINDS)]
        pairs = [(any_line(random, 0).replace(b"\n", b""), good_line(random, number)) for number in range(200)]
        file = written(tmp_path, f"good.{kind}", PACKERS[kind](b"\n".join(line for pair in pairs for line in pair)))
        decoder = Decoder(SPECS[0])
        ids = [
            getattr(decoder.decode(file.uri, line), "custom_id", None)
            for _, line in scan(file, max_line_bytes=MAX_LINE_BYTES)
        ]
        assert ids[1::2] == [f"row-{number}" for number in range(200)]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_file_cut_anywhere_loses_no_line_silently(tmp_path: Path, kind: str) -> None:
    for seed in range(60):
        random, content = Random(seed), file_of(seed, lines=100)
        half = content.index(b"\n", len(content) // 2) + 1
        packed = PACKERS[kind](content[:half]) + PACKERS[kind](content[half:])
        packed = packed[: random.randrange(len(packed))]
        expected = expected_lines(content, max_line_bytes=MAX_LINE_BYTES)
        file = written(tmp_path, f"cut.{kind}", packed)
        lines = [line for _, line in scan(file, max_line_bytes=MAX_LINE_BYTES)]
        assert lines[:-1] == expected[: len(lines) - 1], f"seed {seed}"
        last, whole = lines[-1], expected[len(lines) - 1 : len(lines)]
        assert last.problem == "truncated", f"seed {seed}"
        assert all(line.offset == last.offset for line in whole)
        fates = fates_of(file, SPECS[0], seed, lines)
        assert fates.total() == len(lines)


@settings(deadline=None, max_examples=300)
@given(
    content=st.lists(st.sampled_from([b"\n", b"\r\n", b"{}", b'{"a":1}', b"\0", b"x" * 90]), max_size=30).map(b"".join),
    kind=st.sampled_from(KINDS[1:]),
    place=st.floats(0, 1, exclude_max=True),
    flipped=st.integers(1, 255),
)
def test_a_flipped_byte_ends_in_lines_that_follow_each_other(
    content: bytes, kind: str, place: float, flipped: int
) -> None:
    packed = bytearray(PACKERS[kind](content))
    packed[int(place * len(packed))] ^= flipped
    with tempfile.TemporaryDirectory() as folder:
        scanned = list(scan(written(folder, f"f.{kind}", bytes(packed)), max_line_bytes=MAX_LINE_BYTES))
    assert [line.number for _, line in scanned] == list(range(1, len(scanned) + 1))
    assert {line.problem for _, line in scanned[:-1]} <= {None, "line_too_long"}
