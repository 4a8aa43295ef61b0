"""What a person sees of a job while it runs: JSON lines, a moving line on a terminal, or plain lines.

Knows nothing of stores, workers or flags.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Protocol, TextIO

from batch.phases import Phase
from batch.text import duration, number, shortened

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from batch.records.state import JobRecord

LINE_EVERY_S = 10.0
JSON_EVERY_S = 2.0

# By the name of the state: importing batch.records.state would double the time of --help.
_PHASES = {
    "VALIDATING": Phase.SCANNING,
    "PENDING": Phase.STARTING_ENGINE,
    "RUNNING": Phase.RUNNING,
    "WRITING_RESULTS": Phase.WRITING,
    "CANCELLING": "cancelling",
}


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
