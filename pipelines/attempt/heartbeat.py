"""What goes on beside the rows while an attempt runs: its heartbeat, its limits, and what it has counted.

Knows nothing of Ray and of engines.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from batch.clock import Clock, parse_rfc3339, rfc3339
from batch.errors import BatchError
from batch.jobs.lease import HEARTBEAT_EVERY_S, Lease
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.planning.plan import Plan
from batch.records.objects import EngineReport, Progress, Stop, StopState, Tally
from batch.spec.job_spec import JobSpec
from connectors.errors import StoreError
from connectors.stores.retry import be_patient, retries
from pipelines.attempt.progress import ProgressFold, log_line

logger = logging.getLogger(__name__)

LAST_WORDS_S = 5.0
LOG_EVERY_S = 30.0


class JobStopped(Exception):
    """The job is to end, and no engine is there yet to hear of it. `stop`: the request that stands."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.message)
        self.stop = stop


class Pulse:
    """Renews the lease every 2 s with the job's progress, and ends the job at its deadline or error budget.

    A context manager; once entered, its thread is the only one that writes heartbeats. `on_lost` is called once, from
    that thread, when another attempt has the job. `retries_before`: those of this process that earlier jobs had.
    """

    def __init__(
        self, job: JobStore, lease: Lease, *, clock: Clock, on_lost: Callable[[], None], retries_before: int = 0
    ) -> None:
        self._job, self._lease, self._clock, self._on_lost = job, lease, clock, on_lost
        self._spec = job.spec()
        self._phase = Phase.SCANNING
        self._message = ""
        self._so_far = _so_far(job, lease)
        self._fold = ProgressFold(0, self._so_far)
        self._plan: Plan | None = None
        self._logged_at_s = clock.monotonic()
        self._retries_before = retries_before
        self._stop: Stop | None = None
        self._is_heeded = True
        self._refusal: BatchError | None = None
        self._created_at_s: float | None = None
        """When the job was created, as our monotonic clock would have told; None before the first heartbeat."""
        self._guard = Lock()
        self._ended = Event()
        self._thread = Thread(target=self._beat_until_ended, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._try_to_beat()  # now, so that a job which is to end starts nothing
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if error is not None:
            be_patient(LAST_WORDS_S)  # whatever is said at the end may be missing
        self._thread.join()

    def heed(self) -> None:
        """Raise JobStopped once the job is to end; for all that is done before an engine hears of that by itself.

        What kept the pulse from reading that, a damaged object or another job's, is raised too.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._stop is not None:
            raise JobStopped(self._stop)

    def handed_over(self) -> None:
        """From now on engines hear of a stop by themselves, and nobody heeds this."""
        self._is_heeded = False

    def scanned(self, lines: int) -> None:
        """Tell how many lines the plan has seen. Raises JobStopped."""
        self.heed()
        self._message = f"{lines:,} lines read" if lines else ""

    def planned(self, plan: Plan) -> None:
        """Begin to count: the commits of earlier attempts first."""
        fold = ProgressFold(plan.rows, self._so_far)
        fold.committed(self._job.commits().values())
        with self._guard:
            self._fold, self._plan, self._phase, self._message = fold, plan, Phase.STARTING_ENGINE, ""

    def settled(self, shard: int, tally: Tally) -> None:
        """Count a shard that was committed."""
        with self._guard:
            self._fold.settle(shard, tally)

    def writing(self) -> None:
        """The rows are done; the ledger is being closed."""
        self._phase = Phase.WRITING
        self._beat()

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(HEARTBEAT_EVERY_S):
            self._try_to_beat()
            if self._lease.lost:
                self._on_lost()
                return

    def _try_to_beat(self) -> None:
        try:
            self._beat()
        except StoreError as error:
            logger.warning("heartbeat: %s", error)
        except BatchError as error:
            logger.warning("heartbeat: %s", error)
            self._refusal = error

    def _beat(self) -> None:
        reports = self._job.engine_reports(self._lease.epoch.number) if self._plan else []
        with self._guard:
            self._fold.reported(reports)
            if self._phase is Phase.STARTING_ENGINE and self._fold.is_running:
                self._phase = Phase.RUNNING
            own_retries = retries() - self._retries_before
            progress = self._fold.progress(self._clock.monotonic(), self._message, own_retries=own_retries)
            counted = replace(progress, failed=self._fold.failed)
        self._lease.renew(self._phase, progress)
        self._log(progress, reports)
        if self._phase is Phase.WRITING:
            return
        stop = limit_passed(self._spec, counted, now=self._clock.now(), age_s=self._age_s())
        if stop is not None:
            self._job.request_stop(stop)
        if self._is_heeded:
            self._stop = self._job.stop()

    def _log(self, progress: Progress, reports: Sequence[EngineReport]) -> None:
        """One line every LOG_EVERY_S while rows are answered."""
        now_s = self._clock.monotonic()
        if self._phase is Phase.RUNNING and now_s - self._logged_at_s >= LOG_EVERY_S:
            self._logged_at_s = now_s
            logger.info("%s", log_line(progress, reports))

    def _age_s(self) -> float:
        """How old the job is: by the clock of its store, since those of two machines may be hours apart."""
        now_s = self._clock.monotonic()
        if self._created_at_s is None:
            age_s = self._job.age_s(self._lease.epoch.number) if self._spec.deadline_s is not None else 0.0
            by_our_clock = self._clock.now() - parse_rfc3339(self._spec.created_at)
            self._created_at_s = now_s - (by_our_clock.total_seconds() if age_s is None else age_s)
        return now_s - self._created_at_s


def _so_far(job: JobStore, lease: Lease) -> Tally:
    """What the attempt before told last: the lease has taken it over."""
    heartbeat = job.heartbeat(lease.epoch.number)
    told = heartbeat.progress if heartbeat is not None else Progress()
    return Tally(told.succeeded, told.failed, told.prompt_tokens, told.completion_tokens)


def limit_passed(spec: JobSpec, progress: Progress, *, now: datetime, age_s: float) -> Stop | None:
    """Return the stop that the deadline or the error budget of a job asks for that is so old, if it is time. Pure."""
    if spec.deadline_s is not None and age_s >= spec.deadline_s:
        return Stop(StopState.EXPIRED, f"The deadline of {spec.deadline_s:g} s has passed.", rfc3339(now))
    too_many = spec.spent_budget(failed=progress.failed, rows=progress.rows_total)
    return Stop(StopState.FAILED, too_many, rfc3339(now)) if too_many else None
