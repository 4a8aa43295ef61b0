"""How far a job is: receipts and the engines' reports folded into one Progress. Pure; time is an argument."""

from collections import deque
from collections.abc import Collection, Iterable

from batch.phases import Phase
from batch.records.objects import Commit, EngineReport, Progress, Tally
from batch.text import number

RATE_WINDOW_S = 30.0
QUIET_S = 60.0
"""After how long without an answer it is told that only rows in flight are left."""


class ProgressFold:
    """Counts committed shards once, and the open shards of the engines on top."""

    def __init__(self, rows_total: int, so_far: Tally | None = None) -> None:
        """`so_far`: what was told before, by an attempt whose last answers may be lost."""
        self._rows_total = rows_total
        self._told = so_far or Tally()
        self._committed: dict[int, Tally] = {}
        self._open: dict[int, Tally] = {}
        self._engine_retries = 0
        self._sum = Tally()
        self._samples: deque[tuple[float, Tally]] = deque()
        self._in_flight = 0
        self._quiet_since_s = 0.0
        self.is_running = False

    def committed(self, commits: Iterable[Commit]) -> None:
        """Take in commits, of earlier attempts too."""
        for commit in commits:
            usage = commit.usage
            self.settle(
                commit.shard,
                Tally(commit.succeeded, commit.failed, usage.prompt_tokens, usage.completion_tokens),
            )

    def settle(self, shard: int, tally: Tally) -> None:
        """Take in the final tally of a shard; a second one for the same shard changes nothing."""
        if shard not in self._committed:
            self._committed[shard] = tally
            self._sum += tally

    def reported(self, reports: Iterable[EngineReport]) -> None:
        """Replace what is known of the open shards."""
        self._open, self._engine_retries, self._in_flight = {}, 0, 0
        for report in reports:
            self._engine_retries += report.retries
            self._in_flight += report.in_flight
            if report.phase is Phase.RUNNING and not self.is_running:
                self.is_running = True
                self._samples.clear()  # rates begin with the first engine, not with its start
            for shard, tally in report.open.items():
                self._open[int(shard)] = tally

    @property
    def failed(self) -> int:
        return self._now().failed

    def progress(self, now_s: float, message: str = "", *, own_retries: int = 0) -> Progress:
        """The progress at `now_s` (monotonic seconds); rates over the last 30 s. `own_retries`: of this process.

        Rows that were done and are lost with an engine stay told until as many are done again: nothing runs backwards.
        A speed is that of answered rows; before an engine answers there is none.
        """
        done = self._now()
        if not self._samples or done != self._samples[-1][1]:
            self._quiet_since_s = now_s
        self._samples.append((now_s, done))
        while len(self._samples) > 1 and now_s - self._samples[1][0] >= RATE_WINDOW_S:
            self._samples.popleft()
        since_s, before = self._samples[0]
        elapsed_s = max(now_s - since_s, 1e-9)
        has_speed = self.is_running and now_s > since_s
        rows_per_s = max(0.0, (done.succeeded - before.succeeded) / elapsed_s) if has_speed else 0.0
        left = self._rows_total - done.rows
        self._told = done if done.rows >= self._told.rows else self._told
        return Progress(
            rows_total=self._rows_total,
            succeeded=self._told.succeeded,
            failed=self._told.failed,
            prompt_tokens=self._told.prompt_tokens,
            completion_tokens=self._told.completion_tokens,
            rows_per_s=rows_per_s,
            prompt_tokens_per_s=max(0.0, (done.prompt_tokens - before.prompt_tokens) / elapsed_s),
            completion_tokens_per_s=max(0.0, (done.completion_tokens - before.completion_tokens) / elapsed_s),
            eta_s=left / rows_per_s if rows_per_s > 0 and left > 0 else None,
            message=message or self._waits_for(left, now_s),
            retries=own_retries + self._engine_retries,
        )

    def _waits_for(self, left: int, now_s: float) -> str:
        if left == 0 or left != self._in_flight or now_s - self._quiet_since_s < QUIET_S:
            return ""
        rows = "the last row" if left == 1 else f"the last {left:,} rows"
        return f"waits for {rows}, no answer for {now_s - self._quiet_since_s:.0f} s"

    def _now(self) -> Tally:
        return sum((tally for shard, tally in self._open.items() if shard not in self._committed), self._sum)


def log_line(progress: Progress, reports: Collection[EngineReport]) -> str:
    """How far a job is and what its engines do, for the log: what an engine does not tell is left out."""
    in_flight, in_line = sum(each.in_flight for each in reports), sum(each.in_line for each in reports)
    line = (
        f"{progress.rows_done:,} of {progress.rows_total:,} rows done, {progress.failed:,} failed, "
        f"{in_flight:,} in flight, {in_line:,} in line; {number(progress.rows_per_s)} rows/s, "
        f"{number(progress.prompt_tokens_per_s)} tokens/s in, {number(progress.completion_tokens_per_s)} out"
    )
    loads = [each.load for each in reports if each.load is not None]
    if not loads:
        return line
    kv_cache = ", ".join(f"{100 * load.kv_cache_use:.0f} %" for load in loads)
    waiting, preemptions = sum(load.waiting for load in loads), sum(load.preemptions for load in loads)
    return f"{line}; KV cache {kv_cache} used, {waiting:,} waiting in the engine, {preemptions:,} preemptions"
