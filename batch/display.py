"""What a person sees of a job: progress while it runs, the summary at its end, text that cannot drive a terminal.

Knows nothing of stores, workers or flags.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Protocol, TextIO
from urllib.parse import unquote

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from batch.state import JobRecord

LINE_EVERY_S = 10.0
JSON_EVERY_S = 2.0
EXAMPLES_PER_CODE = 3
MAX_SHOWN_CHARACTERS = 400

# C0 without tab and newline, DEL, C1, and the marks that turn the direction of text around.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# By the name of the state: importing batch.state would double the time of --help.
_PHASES = {
    "VALIDATING": "scanning",
    "PENDING": "starting engine",
    "RUNNING": "running",
    "WRITING_RESULTS": "writing",
    "CANCELLING": "cancelling",
}


def escape(text: str) -> str:
    """The text with control characters written as escapes; tab and newline stay."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The text on one line, escaped."""
    return escape(" ".join(text.split()))


def shortened(text: str, limit: int = MAX_SHOWN_CHARACTERS) -> str:
    """One escaped line of at most `limit` characters, with an ellipsis where it was cut."""
    line = one_line(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def address(uri: str) -> str:
    """A local file by its path, as a shell takes it; anything else by its URI."""
    return shortened(unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri)


@dataclass(frozen=True, slots=True)
class View:
    """The moving part of a job at one moment; counts in rows, speeds per second over the attempt, None = unknown."""

    phase: str
    rows_done: int = 0
    rows_failed: int = 0
    rows_total: int | None = None
    rows_per_s: float = 0.0
    prompt_tokens_per_s: float = 0.0
    completion_tokens_per_s: float = 0.0
    eta_s: float | None = None
    message: str = ""


def view(record: JobRecord) -> View:
    """What a display shows of a record."""
    progress = record.progress
    return View(
        phase=_PHASES.get(record.state, record.state.value.lower()),
        rows_done=progress.rows_done,
        rows_failed=progress.failed,
        rows_total=record.rows,
        rows_per_s=round(progress.rows_per_s, 2),
        prompt_tokens_per_s=round(progress.prompt_tokens_per_s, 1),
        completion_tokens_per_s=round(progress.completion_tokens_per_s, 1),
        eta_s=progress.eta_s,
        message=shortened(record.message, 120),
    )


class Display(Protocol):
    """One display of one job; `show` may be called as often as one likes."""

    def show(self, current: View, at_s: float) -> None:
        """Take the newest view; `at_s` is a monotonic time."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was found."""
        ...


class Onward:
    """Shows a display rows that were done once as done, also when a lost engine or worker takes their answers along."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._furthest: View | None = None

    def show(self, current: View, at_s: float) -> None:
        if self._furthest is not None and current.rows_done < self._furthest.rows_done:
            kept = self._furthest
            current = replace(current, rows_done=kept.rows_done, rows_failed=kept.rows_failed)
        self._furthest = current
        self._display.show(current, at_s)

    def close(self) -> None:
        self._display.close()


class LineDisplay:
    """Plain lines: one at every change of phase and one every `every_s` while something moves."""

    def __init__(self, stream: TextIO, *, render: Callable[[View], str], every_s: float) -> None:
        self._stream = stream
        self._render = render
        self._every_s = every_s
        self._last: View | None = None
        self._last_at_s = 0.0

    def show(self, current: View, at_s: float) -> None:
        same_phase = self._last is not None and self._last.phase == current.phase
        if same_phase and (current == self._last or at_s - self._last_at_s < self._every_s):
            return
        self._last, self._last_at_s = current, at_s
        print(self._render(current), file=self._stream, flush=True)

    def close(self) -> None:
        self._stream.flush()


class TerminalDisplay:
    """One moving line on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._bar = _rich_bar(stream)
        self._task = self._bar.add_task("starting", total=None, speeds="")
        self._bar.start()

    def show(self, current: View, at_s: float) -> None:  # noqa: ARG002  (rich keeps its own time)
        description = current.phase + (f": {current.message}" if current.message else "")
        self._bar.update(
            self._task,
            description=description,
            completed=current.rows_done,
            total=current.rows_total or None,
            speeds=_figures(current),
        )

    def close(self) -> None:
        self._bar.stop()


def _rich_bar(stream: TextIO) -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[speeds]}", markup=False),
        TimeElapsedColumn(),
        console=Console(file=stream),
        refresh_per_second=4,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what goes to a file stays there
    )


def open_display(stream: TextIO, *, as_json: bool) -> Display:
    """The display that fits: JSON lines when asked, a moving line on a terminal, else plain lines."""
    if as_json:
        return Onward(LineDisplay(stream, render=json_line, every_s=JSON_EVERY_S))
    if stream.isatty():
        return Onward(TerminalDisplay(stream))
    return Onward(LineDisplay(stream, render=plain_line, every_s=LINE_EVERY_S))


def json_line(current: View) -> str:
    """A view as one line of JSON."""
    return json.dumps(asdict(current), ensure_ascii=False)


def plain_line(current: View) -> str:
    """A view as one line of text."""
    figures = _figures(current)
    return current.phase + (f": {current.message}" if current.message else "") + (f"; {figures}" if figures else "")


def _figures(current: View) -> str:
    if not current.rows_total:
        return ""
    percent = 100 * current.rows_done // current.rows_total
    pieces = [f"{current.rows_done:,}/{current.rows_total:,} rows ({percent} %)"]
    pieces += [f"{current.rows_failed:,} failed"] if current.rows_failed else []
    pieces += [f"{number(current.rows_per_s)} rows/s"] if current.rows_per_s else []
    if current.prompt_tokens_per_s or current.completion_tokens_per_s:
        read, written = number(current.prompt_tokens_per_s), number(current.completion_tokens_per_s)
        pieces.append(f"{read} tokens/s in, {written} out")
    pieces += [f"{duration(current.eta_s)} left"] if current.eta_s is not None else []
    return ", ".join(pieces)


def number(value: float) -> str:
    """1,234 above ten, two figures below."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit_s, unit, smaller_s, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            return f"{whole // unit_s} {unit} {whole % unit_s // smaller_s} {smaller}"
    return f"{whole} s"


def size(count_bytes: int) -> str:
    """512 B, 1.2 kB, 3.4 GB."""
    value = float(count_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004
            return f"{count_bytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


@dataclass(frozen=True, slots=True)
class Example:
    """One failed row as the summary shows it: where, what its custom_id is (None = none) and why."""

    code: str
    custom_id: str | None
    place: str
    message: str


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest value, escaped, left-aligned, two spaces between them."""
    lines = [[shortened(cell, 80) for cell in row] for row in ([list(headers)] if headers else []) + [*map(list, rows)]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def failure_lines(failed_by_code: Mapping[str, int], examples: Sequence[Example]) -> list[str]:
    """The codes, most frequent first, each with its examples below it."""
    lines = []
    for code, count in sorted(failed_by_code.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"{code} {count:,}")
        shown = [each for each in examples if each.code == code][:EXAMPLES_PER_CODE]
        for example in shown:
            custom_id = "" if example.custom_id is None else f" ({shortened(example.custom_id, 60)})"
            lines.append(f"  {shortened(example.place, 200)}{custom_id}: {shortened(example.message, 200)}")
        lines += [f"  and {count - len(shown):,} more"] if 0 < len(shown) < count else []
    return lines
