import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest
from faults import Fault, FaultStore, Kind, Verb, Wrapped
from jobs import HOLDER, FakeClock, make_spec

from batch.errors import JobGone, JobHeld
from batch.jobs.lease import Lease, Sighting, Verdict, claim, is_gone, judge, this_process
from batch.jobs.store import JobStore, Standing
from batch.phases import Phase
from batch.records.objects import Exit, Holder, Progress
from batch.records.state import HEARTBEAT_TTL_S
from connectors.errors import Unavailable
from connectors.stores.store import Store

OTHER = Holder("node-2", 7)
T = TypeVar("T")


@pytest.fixture
def job(memory_store: Store) -> JobStore:
    store = JobStore(memory_store)
    store.create_spec(make_spec(token="1f"))
    return store


class Away(Wrapped):
    """A store that is out of reach for a while, or for heartbeats alone."""

    is_away = False
    loses_puts = False

    def _do(self, verb: Verb, key: str, operation: Callable[[], T]) -> T:
        if self.is_away or (self.loses_puts and verb is Verb.PUT):
            raise Unavailable("away")
        return operation()


class BusyClock(FakeClock):
    """While the newcomer sleeps, something happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._meanwhile()


@pytest.mark.parametrize(
    ("sighting", "verdict"),
    [
        (Sighting(has_ended=True, holder_is_gone=False, beat_changed=True, silent_s=0), Verdict.TAKE),
        (Sighting(has_ended=False, holder_is_gone=True, beat_changed=True, silent_s=0), Verdict.TAKE),
        (Sighting(has_ended=False, holder_is_gone=False, beat_changed=True, silent_s=99), Verdict.HELD),
        (Sighting(has_ended=False, holder_is_gone=False, beat_changed=False, silent_s=29.9), Verdict.WATCH),
        (Sighting(has_ended=False, holder_is_gone=False, beat_changed=False, silent_s=30), Verdict.TAKE),
    ],
)
def test_what_a_newcomer_may_do(sighting: Sighting, verdict: Verdict) -> None:
    assert judge(sighting) is verdict


def test_the_first_claim_opens_epoch_one_and_beats(job: JobStore) -> None:
    lease = claim(job, HOLDER, clock=FakeClock(), options={"replicas": "2"})
    assert (lease.epoch.number, lease.epoch.options, lease.lost) == (1, {"replicas": "2"}, False)
    heartbeat = job.heartbeat(1)
    assert heartbeat is not None
    assert (heartbeat.beat, heartbeat.phase) == (1, Phase.STARTING)


def test_a_holder_that_beats_is_left_alone_at_once(job: JobStore) -> None:
    holding = claim(job, HOLDER, clock=FakeClock())
    clock = BusyClock(lambda: holding.renew(Phase.RUNNING, Progress(rows_total=9, succeeded=3, failed=1)))
    with pytest.raises(JobHeld) as caught:
        claim(job, OTHER, clock=clock)
    assert clock.seconds <= 2
    assert caught.value.holder == f"node-1, process 4242, since {holding.epoch.started_at}"
    assert "4 of 9 rows done" in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_silent_holder_is_followed_after_the_ttl(job: JobStore) -> None:
    first = claim(job, HOLDER, clock=FakeClock())
    first.renew(Phase.RUNNING, Progress(rows_total=9, succeeded=3, rows_per_s=5.0, eta_s=2.0))
    clock = FakeClock()
    second = claim(job, OTHER, clock=clock)
    assert second.epoch.number == 2
    assert HEARTBEAT_TTL_S <= clock.seconds <= HEARTBEAT_TTL_S + 1
    heartbeat = job.heartbeat(2)
    assert heartbeat is not None
    assert heartbeat.progress == Progress(rows_total=9, succeeded=3)
    assert not first.renew(Phase.RUNNING, Progress())
    assert first.lost


def test_a_holder_that_died_before_its_first_beat_is_followed(job: JobStore, memory_store: Store) -> None:
    store = Away(memory_store)
    store.loses_puts = True
    claim(JobStore(store), HOLDER, clock=FakeClock())
    assert job.heartbeat(1) is None
    assert claim(job, OTHER, clock=FakeClock()).epoch.number == 2


@pytest.mark.parametrize("how", list(Exit))
def test_an_attempt_that_said_its_end_is_followed_at_once(how: Exit, job: JobStore) -> None:
    claim(job, HOLDER, clock=FakeClock()).end(how, "that was it")
    clock = FakeClock()
    assert claim(job, OTHER, clock=clock).epoch.number == 2
    assert clock.seconds == 0


def test_an_attempt_that_ends_while_it_is_watched_is_followed(job: JobStore) -> None:
    holding = claim(job, HOLDER, clock=FakeClock())
    clock = BusyClock(lambda: holding.end(Exit.INTERRUPTED, "Ctrl-C"))
    assert claim(job, OTHER, clock=clock).epoch.number == 2
    assert clock.seconds <= 2


def test_of_two_newcomers_one_wins(job: JobStore, memory_store: Store) -> None:
    """The other one's claim falls between our look at the epochs and our own."""
    claim(job, HOLDER, clock=FakeClock()).end(Exit.FAILED, "")
    winner: list[Lease] = []

    def other_wins() -> None:
        winner.append(claim(job, OTHER, clock=FakeClock()))

    slow = JobStore(FaultStore(memory_store, Fault(Kind.PAUSE, 8, other_wins)))
    clock = BusyClock(lambda: winner[0].renew(Phase.RUNNING, Progress()))
    with pytest.raises(JobHeld, match="Attempt 2 runs this job on node-2"):
        claim(slow, HOLDER, clock=clock)
    assert job.epoch_numbers() == [1, 2]


AWAY = pytest.mark.parametrize("away_s", [20.0, 60.0, 300.0])


@AWAY
def test_a_store_that_was_away_takes_no_lease(away_s: float, job: JobStore, memory_store: Store) -> None:
    store, clock = Away(memory_store), FakeClock()
    lease = claim(JobStore(store), HOLDER, clock=clock)
    store.is_away = True
    while clock.seconds < away_s:
        assert lease.renew(Phase.RUNNING, Progress())
        clock.sleep(2)
    store.is_away = False
    assert lease.renew(Phase.RUNNING, Progress(succeeded=3))
    heartbeat = job.heartbeat(1)
    assert heartbeat is not None
    assert (heartbeat.beat, heartbeat.progress.succeeded) == (2, 3)


@AWAY
def test_who_followed_while_the_store_was_away_is_seen_when_it_is_back(
    away_s: float, job: JobStore, memory_store: Store
) -> None:
    """Out of reach for the holder alone: the other one waits for its TTL and takes the job."""
    store, clock = Away(memory_store), FakeClock()
    lease = claim(JobStore(store), HOLDER, clock=clock)
    store.is_away = True
    clock.sleep(away_s)
    assert lease.renew(Phase.RUNNING, Progress())
    assert claim(job, OTHER, clock=FakeClock()).epoch.number == 2
    store.is_away = False
    assert not lease.renew(Phase.RUNNING, Progress())
    assert lease.standing is Standing.SUPERSEDED
    heartbeat = job.heartbeat(1)
    assert heartbeat is not None
    assert heartbeat.beat == 1, "it looks before it beats"
    assert not lease.renew(Phase.RUNNING, Progress()), "a lost lease stays lost"


def test_renewals_keep_a_lease(job: JobStore) -> None:
    clock = FakeClock()
    lease = claim(job, HOLDER, clock=clock)
    for _ in range(5):
        clock.sleep(HEARTBEAT_TTL_S - 1)
        assert lease.renew(Phase.RUNNING, Progress())
    heartbeat = job.heartbeat(1)
    assert heartbeat is not None
    assert heartbeat.beat == 6


@pytest.fixture
def gone() -> Holder:
    """A process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return replace(this_process(), pid=process.pid)


def test_a_dead_process_of_this_host_is_followed_at_once(job: JobStore, gone: Holder) -> None:
    claim(job, gone, clock=FakeClock())
    clock = FakeClock()
    assert claim(job, this_process(), clock=clock).epoch.number == 2
    assert clock.seconds == 0


def test_this_process_is_not_gone() -> None:
    assert not is_gone(this_process(), this_process())
    assert this_process().pid == os.getpid()


def test_a_dead_process_on_another_host_or_boot_may_be_alive(gone: Holder) -> None:
    assert is_gone(gone, this_process())
    assert not is_gone(replace(gone, host="elsewhere"), this_process())
    assert not is_gone(replace(gone, boot_id="container"), this_process())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tells processes apart by /proc")
def test_a_reused_pid_is_another_process() -> None:
    assert is_gone(replace(this_process(), process_started="1"), this_process())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tells processes apart by /proc")
def test_a_zombie_process_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert is_gone(replace(this_process(), pid=process.pid, process_started="5"), this_process())
    finally:
        process.wait()


def test_a_deleted_job_is_lost_and_is_not_made_anew(job: JobStore, memory_store: Store) -> None:
    lease = claim(job, HOLDER, clock=FakeClock())
    for found in list(memory_store.list("_job/")):
        memory_store.delete(found.key)

    assert not lease.renew(Phase.RUNNING, Progress())
    assert lease.standing is Standing.GONE
    with pytest.raises(JobGone, match="was emptied"):
        lease.end(Exit.FAILED, "")
    assert list(memory_store.list("")) == []


def test_a_place_that_another_job_has_got_is_lost(job: JobStore, memory_store: Store) -> None:
    """The other one's first attempt has the number of ours."""
    lease = claim(job, HOLDER, clock=FakeClock())
    for found in list(memory_store.list("_job/")):
        memory_store.delete(found.key)
    other = JobStore(memory_store)
    other.create_spec(make_spec(token="2e"))
    theirs = claim(other, OTHER, clock=FakeClock())

    assert not lease.renew(Phase.RUNNING, Progress(succeeded=3))
    assert lease.standing is Standing.GONE
    assert theirs.renew(Phase.RUNNING, Progress())
    with pytest.raises(JobGone):
        lease.end(Exit.FAILED, "")
    assert other.attempt_end(1) is None


@pytest.mark.parametrize("claimed", [b"{cut", b'{"format":1,"number":2}', b'{"life": "another",\n"format":1}'])
def test_a_claim_that_cannot_be_read_is_nobodys(claimed: bytes, job: JobStore, memory_store: Store) -> None:
    claim(job, HOLDER, clock=FakeClock()).end(Exit.FAILED, "")
    memory_store.put("_job/epochs/00000002.json", claimed)
    clock = FakeClock()
    assert claim(JobStore(memory_store), OTHER, clock=clock).epoch.number == 3
    assert clock.seconds == 0


@pytest.mark.parametrize("key", ["_job/heartbeats/00000001.json", "_job/epochs/00000001.end.json"])
def test_a_garbled_sign_of_life_holds_no_job(key: str, job: JobStore, memory_store: Store) -> None:
    claim(job, HOLDER, clock=FakeClock())
    memory_store.put(key, b'{"life": garbled')
    assert claim(JobStore(memory_store), OTHER, clock=FakeClock()).epoch.number == 2
