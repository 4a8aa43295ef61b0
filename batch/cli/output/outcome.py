"""How an attempt ended, told in one sentence and an exit code. Knows nothing of how it was run."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from batch.cli.output.ending import summary
from batch.clock import SystemClock
from batch.exit_codes import ExitCode
from batch.records.objects import AttemptEnd, Exit
from batch.text import escape, one_line
from connectors.errors import StoreError

if TYPE_CHECKING:
    from batch.jobs.store import JobStore

LOG_TAIL_LINES, LOG_TAIL_BYTES = 15, 64 * 1024


@dataclass(frozen=True, slots=True)
class Launch:
    """How an attempt is started. `again`: the words for what makes it go on after an interruption."""

    output: str
    replicas: str | None
    ray_address: str | None
    again: str = "the same command resumes it"


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one attempt: what stands in the file from byte `start` on."""

    path: Path
    start: int

    @classmethod
    def at(cls, path: Path) -> Self:
        """The log that will be appended to the file."""
        return cls(path, path.stat().st_size if path.exists() else 0)

    def tail(self) -> list[str]:
        """The last lines, escaped; none when nothing was written."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as stream:
            stream.seek(max(self.start, self.path.stat().st_size - LOG_TAIL_BYTES))
            content = stream.read()
        return [escape(line.rstrip()) for line in content.decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]]


def close(job_store: JobStore, *, as_json: bool) -> int:
    """Print the summary of a job that has ended, and give its exit code."""
    manifest = job_store.manifest()
    if manifest is None:
        raise ValueError(f"{job_store.uri}: closed without a manifest")
    click.echo(summary(job_store, manifest, as_json=as_json))
    return manifest.exit_code


def interrupted(job_store: JobStore, launch: Launch, *, as_json: bool) -> int:
    """Say that an attempt was interrupted, and how it goes on."""
    sentence = f"was interrupted; {launch.again}."
    return _say(job_store, "INTERRUPTED", sentence, code=ExitCode.INTERRUPTED, as_json=as_json)


def _say(job_store: JobStore, state: str, sentence: str, *, code: int, as_json: bool) -> int:
    job_id = job_store.spec().job_id
    if as_json:
        click.echo(json.dumps({"job_id": job_id, "state": state, "message": sentence, "exit_code": code}))
    else:
        click.echo(f"batchctl: {job_id} {sentence}", err=True)
    return code


@dataclass(frozen=True, slots=True)
class Outcome:
    """An attempt whose worker has ended."""

    job_store: JobStore
    launch: Launch
    log: Log
    as_json: bool

    def tell(self, exit_status: int) -> int:
        """Say how it ended; the exit code. A negative status is the signal that the worker died of."""
        try:
            return self._tell(exit_status)
        except StoreError as error:
            sentence = f"cannot be looked at: {error}; what is done is kept, and {self.launch.again}."
            return self._say("FAILED", sentence, ExitCode.FAILED)

    def _tell(self, exit_status: int) -> int:
        if not self.job_store.is_in_place():
            how = f"stopped: {self.job_store.uri} was emptied, or given to another job, while it ran."
            return self._say("FAILED", how, ExitCode.FAILED)
        if self.job_store.manifest() is not None:  # whatever became of the worker after it, or before another wrote it
            return close(self.job_store, as_json=self.as_json)
        if exit_status in (ExitCode.INTERRUPTED, -signal.SIGINT):
            return interrupted(self.job_store, self.launch, as_json=self.as_json)
        if exit_status == ExitCode.HELD:
            return self._say("HELD", self._holder(), ExitCode.HELD)
        end = self._last_words()
        if exit_status in (ExitCode.FAILED, ExitCode.USAGE) and end is not None:
            again = f"; {self.launch.again}" if end.resumable else ""
            said = one_line(end.message).rstrip(".")
            return self._say("FAILED", f"failed: {said} (log: {self.log.path}){again}.", exit_status)
        return self._died(exit_status)

    def _say(self, state: str, sentence: str, code: int) -> int:
        return _say(self.job_store, state, sentence, code=code, as_json=self.as_json)

    def _holder(self) -> str:
        epoch = self.job_store.latest_epoch()
        if epoch is None:
            return "is held by another attempt."
        done = self.job_store.record(SystemClock().now()).progress.rows_done
        return (
            f"is held by attempt {epoch.number} on {epoch.holder.host} (process {epoch.holder.pid}) since "
            f"{epoch.started_at}, with {done:,} rows done; wait for it, or stop it with `batchctl cancel`."
        )

    def _last_words(self) -> AttemptEnd | None:
        """The end of the latest attempt, if it failed and could say so."""
        epoch = self.job_store.latest_epoch()
        end = self.job_store.attempt_end(epoch.number) if epoch else None
        return end if end and end.exit is Exit.FAILED and end.message else None

    def _died(self, exit_status: int) -> int:
        if not self.as_json:
            click.echo("".join(f"  | {line}\n" for line in self.log.tail()), err=True, nl=False)
        how = f"exit status {exit_status}" if exit_status >= 0 else _signal_name(-exit_status)
        sentence = f"ended early: its worker died of {how} (log: {self.log.path}); what is done is kept"
        return self._say("FAILED", f"{sentence}, and {self.launch.again}.", ExitCode.FAILED)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
