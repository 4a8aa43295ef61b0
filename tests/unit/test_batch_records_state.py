from dataclasses import replace
from datetime import timedelta

import pytest
from jobs import ENGINE, HOLDER, NOW, make_commit, make_heartbeat, make_plan, make_spec

from batch.phases import Phase
from batch.records.manifest import Closing, Manifest, close_ledger
from batch.records.objects import AttemptEnd, Epoch, Exit, Stop, StopState
from batch.records.state import JobFacts, JobState, PlanTotals, fold

AT = "2026-01-31T11:30:00.000000Z"
PLANNED = JobFacts(make_spec(), plan=PlanTotals(shards=2, lines=6, rows=5))
CLAIMED = replace(PLANNED, attempts=1, first_started_at=AT, epoch=Epoch(1, HOLDER, AT))
RUNNING = replace(CLAIMED, heartbeat=make_heartbeat())
CANCEL = Stop(StopState.CANCELLED, "Cancelled by me.", AT)
DEADLINE = Stop(StopState.EXPIRED, "The deadline has passed.", AT)


def manifest(stop: Stop | None = None) -> Manifest:
    commits = {0: make_commit(0, 2, 1), 1: make_commit(1, 2)}
    closing = Closing(ENGINE, 1, AT, "2026-01-31T11:59:00.000000Z")
    return close_ledger(make_spec(), make_plan(), commits=commits, stop=stop, closing=closing)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (JobFacts(make_spec()), JobState.VALIDATING),
        (PLANNED, JobState.PENDING),
        (CLAIMED, JobState.PENDING),
        (replace(RUNNING, heartbeat=make_heartbeat(phase=Phase.STARTING_ENGINE)), JobState.PENDING),
        (RUNNING, JobState.RUNNING),
        (replace(RUNNING, committed_shards=1), JobState.RUNNING),
        (replace(RUNNING, committed_shards=2), JobState.WRITING_RESULTS),
        (replace(RUNNING, stop=CANCEL), JobState.CANCELLING),
        (replace(RUNNING, stop=CANCEL, committed_shards=2), JobState.CANCELLING),
        (replace(RUNNING, stop=DEADLINE), JobState.WRITING_RESULTS),
        (replace(JobFacts(make_spec()), stop=CANCEL), JobState.CANCELLING),
        (replace(RUNNING, end=AttemptEnd(1, Exit.FAILED, "No GPU.", AT)), JobState.FAILED),
        (replace(RUNNING, end=AttemptEnd(1, Exit.INTERRUPTED, "Ctrl-C.", AT)), JobState.PENDING),
        (replace(RUNNING, manifest=manifest()), JobState.COMPLETED),
        (replace(RUNNING, manifest=manifest(CANCEL), stop=CANCEL), JobState.CANCELLED),
        (replace(RUNNING, manifest=manifest(DEADLINE), stop=DEADLINE), JobState.EXPIRED),
        (replace(RUNNING, manifest=manifest(), end=AttemptEnd(1, Exit.FAILED, "late", AT)), JobState.COMPLETED),
    ],
)
def test_the_state_that_the_objects_stand_for(facts: JobFacts, state: JobState) -> None:
    assert fold(facts, NOW).state is state


def test_a_running_job_shows_its_holder_and_progress() -> None:
    record = fold(RUNNING, NOW)
    assert (record.holder, record.stale, record.attempts) == (HOLDER, False, 1)
    assert (record.lines, record.rows, record.progress) == (6, 5, make_heartbeat().progress)
    assert (record.started_at, record.finished_at) == (AT, None)
    assert record.updated_at == make_heartbeat().at


@pytest.mark.parametrize(("silent_s", "stale"), [(29, False), (31, True)])
def test_a_silent_holder_is_stale_after_the_ttl(silent_s: int, stale: bool) -> None:
    facts = replace(RUNNING, heartbeat=make_heartbeat(at=NOW.isoformat()))
    assert fold(facts, NOW + timedelta(seconds=silent_s)).stale is stale
    claimed = replace(CLAIMED, epoch=Epoch(1, HOLDER, NOW.isoformat()))
    assert fold(claimed, NOW + timedelta(seconds=silent_s)).stale is stale


@pytest.mark.parametrize("how", list(Exit))
def test_nobody_holds_a_job_whose_attempt_ended(how: Exit) -> None:
    record = fold(replace(RUNNING, end=AttemptEnd(1, how, "The end.", AT)), NOW + timedelta(days=1))
    assert (record.holder, record.stale, record.message) == (None, False, "The end.")


def test_an_ended_job_counts_by_its_ledger() -> None:
    record = fold(replace(RUNNING, manifest=manifest()), NOW)
    assert (record.progress.rows_total, record.progress.succeeded, record.progress.failed) == (5, 4, 1)
    assert (record.progress.prompt_tokens, record.progress.completion_tokens) == (40, 20)
    assert record.finished_at == record.updated_at == "2026-01-31T11:59:00.000000Z"
    assert (record.holder, record.message) == (None, "")


def test_the_message_is_why_the_job_ended() -> None:
    assert fold(replace(RUNNING, stop=CANCEL), NOW).message == "Cancelled by me."
    assert fold(replace(RUNNING, stop=CANCEL, manifest=manifest(CANCEL)), NOW).message == "Cancelled by me."
    assert fold(replace(RUNNING, stop=CANCEL, manifest=manifest()), NOW).message == ""


def test_final_states() -> None:
    final = {state for state in JobState if state.is_final}
    assert final == {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}
