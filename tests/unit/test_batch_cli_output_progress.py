"""What people see of a job, without a job."""

import io
import json

import pytest

from batch.cli.output.ending import Example, failure_lines
from batch.cli.output.progress import LineDisplay, View, json_line, open_display, plain_line
from batch.text import duration, escape, one_line, shortened, size, table


def moment(**changes: object) -> View:
    base: dict[str, object] = {
        "phase": "running",
        "rows_done": 250,
        "rows_failed": 3,
        "rows_total": 1000,
        "rows_per_s": 12.5,
        "prompt_tokens_per_s": 3400.0,
        "completion_tokens_per_s": 900.0,
        "eta_s": 60.0,
        "message": "",
    }
    return View(**(base | changes))  # type: ignore[arg-type]  # the names above are the fields


def test_a_plain_line_says_all_that_a_person_asks_for() -> None:
    line = plain_line(moment())

    for wanted in ("running", "250/1,000 rows (25 %)", "3 failed", "12 rows/s", "3,400 tokens/s in", "900 out", "left"):
        assert wanted in line


def test_a_plain_line_before_the_rows_are_known_shows_the_phase_only() -> None:
    assert plain_line(moment(phase="scanning", rows_total=None, rows_done=0)) == "scanning"


def test_plain_lines_come_at_phase_changes_and_every_ten_seconds() -> None:
    stream = io.StringIO()
    display = LineDisplay(stream, render=plain_line, every_s=10.0)

    display.show(moment(phase="scanning"), 0.0)
    display.show(moment(phase="scanning", rows_done=260), 1.0)
    display.show(moment(rows_done=300), 2.0)
    display.show(moment(rows_done=301), 11.9)
    display.show(moment(rows_done=302), 12.0)

    shown = stream.getvalue().splitlines()
    assert [line.split(";")[0] for line in shown] == ["scanning", "running", "running"]
    assert "302/1,000" in shown[2]


def test_nothing_new_is_not_said_again() -> None:
    stream = io.StringIO()
    display = LineDisplay(stream, render=plain_line, every_s=10.0)

    for at_s in (0.0, 20.0, 40.0):
        display.show(moment(), at_s)

    assert len(stream.getvalue().splitlines()) == 1


def test_rows_that_were_done_once_are_shown_as_done() -> None:
    stream = io.StringIO()
    display = open_display(stream, as_json=True)

    for at_s, (done, failed) in enumerate([(0, 0), (250, 3), (100, 1), (0, 0), (260, 2)]):
        display.show(moment(rows_done=done, rows_failed=failed), 10.0 * at_s)

    shown = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["rows_done"] for line in shown] == [0, 250, 260]
    assert [line["rows_failed"] for line in shown] == [0, 3, 2]


def test_without_a_terminal_there_is_no_escape_sequence() -> None:
    stream = io.StringIO()
    display = open_display(stream, as_json=False)
    display.show(moment(), 0.0)
    display.close()

    assert "250/1,000 rows" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_json_progress_is_one_object_a_line() -> None:
    parsed = json.loads(json_line(moment()))

    assert parsed["rows_done"] == 250
    assert parsed["phase"] == "running"


@pytest.mark.parametrize("nasty", ["\x1b[2J", "\x00", "\x9b31m", "\x7f", "\r", "\u202e", "\ud800"])
def test_text_from_users_cannot_drive_a_terminal(nasty: str) -> None:
    shown = escape(f"before{nasty}after")

    assert nasty not in shown
    assert shown.startswith("before")
    assert shown.endswith("after")


def test_a_message_of_several_lines_becomes_one() -> None:
    assert one_line("a\n  b\tc ") == "a b c"


def test_long_text_is_cut_with_a_mark() -> None:
    assert shortened("x" * 500, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1234, "1.2 kB"), (3_400_000_000, "3.4 GB")])
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_failures_are_listed_by_frequency_with_three_examples_each() -> None:
    examples = [Example("timeout", f"row-{i}", f"in.jsonl:{i}", "late") for i in range(5)]
    examples.append(Example("malformed_json", None, "in.jsonl:9", "bad \x1b[0m byte"))

    lines = failure_lines({"malformed_json": 1, "timeout": 5}, examples)

    assert lines[0] == "timeout 5"
    assert lines[1] == "  in.jsonl:0 (row-0): late"
    assert lines[4] == "  and 2 more"
    assert len(lines) == 7
    assert lines[6] == r"  in.jsonl:9: bad \x1b[0m byte"
    assert failure_lines({"timeout": 7}, []) == ["timeout 7"]


def test_a_table_has_columns_as_wide_as_their_widest_value() -> None:
    assert table(["id", "state"], [["a", "RUNNING"], ["longer", "OK"]]).splitlines() == [
        "id      state",
        "a       RUNNING",
        "longer  OK",
    ]
    assert table([], []) == ""
