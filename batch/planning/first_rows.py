"""A look at the first rows of a job, before anything starts: what all of them fail for, and what is odd about them.

Reads so many rows, spread over the inputs, and no more. Knows nothing of engines, and of what follows from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path

import orjson

from batch.result import Code, RowFailure
from batch.rows.request import INPUTS, Decoder, Request
from batch.rows.template import MessagesTemplate, PromptTemplate
from batch.spec.job_spec import JobSpec
from connectors.datasets.lines import Line
from connectors.datasets.reader import InputFile, scan

FIRST_ROWS = 1_000
FIRST_BYTES = 16 * 2**20
LINE_BYTES = 100
"""What a line costs beside its text, a blank one too."""
MOST_FILES = 64
READERS = 16
MOST_WARNINGS = 10
CLOSE = 0.8
"""How much alike two names must be for one to be a slip of the pen, 0 to 1."""

_TABLE = Path(__file__).with_name("request_fields.json")
_UNREADABLE = frozenset({Code.MALFORMED_JSON, Code.NOT_AN_OBJECT, Code.INVALID_UTF8, Code.LINE_TOO_LONG})

Row = dict[str, object]
Reason = tuple[Code, str]


@dataclass(frozen=True, slots=True)
class FirstRows:
    """What the first rows show.

    `failure`: one of them, where all that can be read fail for one reason, and the job's settings are that reason.
    `warnings`: sentences about what none of them has, or what they misspell.
    """

    rows: int
    failure: RowFailure | None
    warnings: tuple[str, ...]

    @property
    def named(self) -> str:
        """`first 1,000 rows`."""
        return "first row" if self.rows == 1 else f"first {self.rows:,} rows"


def look(spec: JobSpec, files: Sequence[InputFile]) -> FirstRows:
    """Decode the first rows of the files. Raises UsageError for a template that is none, InputError, StoreError."""
    decoder, judgement = Decoder(spec), _Judgement(spec)
    for file, line in first_lines(spec, files):
        judgement.add(decoder.decode(file, line), _row(line))
    return judgement.first_rows()


def first_lines(spec: JobSpec, files: Sequence[InputFile]) -> Iterator[tuple[str, Line]]:
    """Yield about FIRST_ROWS lines that are not blank, the first ones of files that stand evenly in the list.

    Fewer where they are long: each file gives its share of FIRST_BYTES, and one line at least.
    """
    chosen = [files[number * len(files) // MOST_FILES] for number in range(MOST_FILES)]
    chosen = list(files) if len(files) <= MOST_FILES else chosen
    read = partial(_first_lines, files=len(chosen), max_line_bytes=spec.max_line_bytes)
    if len(chosen) == 1:
        yield from ((chosen[0].uri, line) for line in read(chosen[0]))
        return
    with ThreadPoolExecutor(READERS) as readers:
        for file, lines in zip(chosen, readers.map(read, chosen), strict=True):
            yield from ((file.uri, line) for line in lines)


def _first_lines(file: InputFile, *, files: int, max_line_bytes: int) -> list[Line]:
    """The share of one of so many files."""
    lines: list[Line] = []
    left_rows, left_bytes = -(-FIRST_ROWS // files), FIRST_BYTES // files
    for _, line in scan(file, max_line_bytes=max_line_bytes):
        left_bytes -= len(line.raw) + LINE_BYTES
        if not line.is_blank:
            lines.append(line)
            left_rows -= 1
        if not left_rows or left_bytes < 0:
            break
    return lines


def _row(line: Line) -> Row:
    try:
        row = orjson.loads(line.raw)
    except orjson.JSONDecodeError:
        return {}
    return row if isinstance(row, dict) else {}


class _Judgement:
    """Takes in rows; says what they have in common."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._template_fields = _template_fields(spec)
        self._rows = 0
        self._reasons: dict[Reason | None, RowFailure | None] = {}
        self._fields: set[str] = set()
        self._odd_names: Counter[tuple[str, str]] = Counter()

    def add(self, decoded: Request | RowFailure, row: Row) -> None:
        """Take in what a row was decoded to, and the row as it stands in the file."""
        self._rows += 1
        self._fields |= row.keys()
        if isinstance(decoded, Request):
            self._reasons[None] = None
            known = request_fields(decoded.endpoint)
            self._odd_names.update((decoded.endpoint, name) for name in decoded.body if name not in known)
        elif decoded.code not in _UNREADABLE:
            self._reasons.setdefault(self._reason(decoded, row), decoded)

    def first_rows(self) -> FirstRows:
        """What there is to say."""
        only = next(iter(self._reasons)) if len(self._reasons) == 1 else None
        failure = self._reasons[only] if only is not None else None
        found = FirstRows(self._rows, failure, ())
        warnings = (*self._absent(found.named), *self._misspelt(found.named)) if self._fields else ()
        return FirstRows(self._rows, failure, warnings[:MOST_WARNINGS])

    def _reason(self, failure: RowFailure, row: Row) -> Reason | None:
        """Which of the job's settings a row fails for; None where the row itself is wrong."""
        code, field = failure.code, failure.field or ""
        if code in (Code.MODEL_MISMATCH, Code.UNSUPPORTED_ENDPOINT):
            return code, ""
        if code is Code.MISSING_CUSTOM_ID and self._spec.id_field is not None:
            return code, self._spec.id_field
        has_no_place = field in self._template_fields or field == "system_prompt"
        has_no_shape = not self._template_fields and not row.keys() & {"body", *INPUTS}
        return (code, field) if code is Code.INVALID_PARAMETER and (has_no_place or has_no_shape) else None

    def _absent(self, named: str) -> Iterator[str]:
        for flag, names in (
            ("--carry", self._spec.carry),
            ("--id-field", (self._spec.id_field,) if self._spec.id_field else ()),
            ("the template's field", sorted(self._template_fields)),
        ):
            for name in names:
                if name not in self._fields:
                    near = get_close_matches(name, sorted(self._fields), n=1)
                    hint = f"; did you mean {near[0]}?" if near else "."
                    yield f"{flag} {name}: none of the {named} has it{hint}"

    def _misspelt(self, named: str) -> Iterator[str]:
        for (endpoint, name), rows in self._odd_names.most_common():
            near = get_close_matches(name, sorted(request_fields(endpoint)), n=1, cutoff=CLOSE)
            if near:
                yield f"{name}, in {rows:,} of the {named}: {endpoint} has no such parameter; did you mean {near[0]}?"


def _template_fields(spec: JobSpec) -> frozenset[str]:
    if spec.prompt_template is not None:
        return PromptTemplate(spec.prompt_template).fields
    return MessagesTemplate(spec.messages_template).fields if spec.messages_template is not None else frozenset()


@cache
def request_fields(endpoint: str) -> frozenset[str]:
    """The names that a body for the endpoint may hold, as vLLM's request classes have them."""
    stored: dict[str, list[str]] = orjson.loads(_TABLE.read_bytes())
    return frozenset(stored.get(endpoint) or stored["/v1/" + endpoint.rpartition("/")[2]])
