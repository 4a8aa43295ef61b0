from dataclasses import replace

import pytest
from faults import Fault, FaultStore, Kind
from jobs import ENGINE, HOLDER, NOW, make_commit, make_heartbeat, make_plan, make_spec

from batch.errors import JobFailed, JobNotFound, SpecMismatch
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.records.manifest import Closing, Manifest, close_ledger
from batch.records.objects import AttemptEnd, EngineReport, Epoch, Exit, Progress, Stop, StopState, Tally
from batch.records.state import JobState
from connectors.errors import ConditionalWritesIgnored
from connectors.stores.store import ObjectInfo, Store

AT = "2026-01-31T11:30:00.000000Z"
SPEC = make_spec(token="1f")


@pytest.fixture
def place(memory_store: Store) -> JobStore:
    """A place without a job."""
    return JobStore(memory_store)


@pytest.fixture
def job(place: JobStore) -> JobStore:
    place.create_spec(SPEC)
    return place


def close(job: JobStore) -> Manifest:
    manifest = close_ledger(SPEC, make_plan(), commits=job.commits(), stop=None, closing=Closing(ENGINE, 1, AT, AT))
    return job.create_manifest(manifest)


def test_a_place_without_a_job_says_so(place: JobStore) -> None:
    with pytest.raises(JobNotFound, match=place.uri):
        place.spec()
    with pytest.raises(JobNotFound, match=place.uri):
        place.create_plan(make_plan())
    assert place.plan() is None
    assert place.epochs() == []
    assert place.commits() == {}


def test_the_first_spec_stands_and_the_same_again_is_fine(place: JobStore) -> None:
    place.create_spec(make_spec())
    later = make_spec(created_at="2027-01-01T00:00:00.000000Z", display_name="again")
    assert place.create_spec(later) == make_spec()
    assert place.spec() == make_spec()


def test_another_spec_is_refused_with_the_differing_fields(place: JobStore) -> None:
    place.create_spec(make_spec())
    with pytest.raises(SpecMismatch) as caught:
        place.create_spec(make_spec(model="other", shard_rows=7))
    assert caught.value.differences == {"model": ("m", "other"), "shard_rows": (512, 7)}
    assert "stored 'm', given 'other'" in str(caught.value)


def test_another_job_is_refused(place: JobStore) -> None:
    place.create_spec(make_spec())
    with pytest.raises(SpecMismatch) as caught:
        place.create_spec(make_spec("job-2"))
    assert caught.value.differences == {"job_id": ("job-1", "job-2")}


def test_the_first_plan_stands(job: JobStore) -> None:
    assert job.create_plan(make_plan((3, 2))) == make_plan((3, 2))
    assert job.create_plan(make_plan((4, 1))) == make_plan((3, 2))
    assert job.plan() == make_plan((3, 2))


def test_an_epoch_has_one_owner(job: JobStore) -> None:
    ours, theirs = Epoch(1, HOLDER, AT), Epoch(1, HOLDER, "2026-01-31T11:30:00.000001Z")
    assert job.create_epoch(ours)
    assert not job.create_epoch(theirs)
    job.create_epoch(Epoch(2, HOLDER, AT))
    assert [epoch.number for epoch in job.epochs()] == [1, 2]
    assert job.latest_epoch() == Epoch(2, HOLDER, AT)


def test_a_lost_acknowledgement_of_a_claim_is_still_ours(job: JobStore, memory_store: Store) -> None:
    job.spec()
    create = 3  # after the spec and a look at it
    assert JobStore(FaultStore(memory_store, Fault(Kind.LOST_ACK, create))).create_epoch(Epoch(1, HOLDER, AT))


def test_attempt_ends_are_no_epochs_and_the_first_end_stands(job: JobStore) -> None:
    job.create_epoch(Epoch(1, HOLDER, AT))
    job.end_attempt(AttemptEnd(1, Exit.FAILED, "no memory", AT))
    assert job.end_attempt(AttemptEnd(1, Exit.FINISHED, "", AT)).exit is Exit.FAILED
    assert job.epoch_numbers() == [1]


def test_heartbeats_and_engine_reports_are_overwritten(job: JobStore) -> None:
    for beat in (1, 2):
        job.beat(make_heartbeat(beat=beat))
        job.report_engine(EngineReport(1, "a", Phase.RUNNING, {"0": Tally(beat)}))
    job.report_engine(EngineReport(2, "b", Phase.STARTING_ENGINE))
    assert job.heartbeat(1) == make_heartbeat(beat=2)
    assert job.heartbeat(2) is None
    assert job.engine_reports(1) == [EngineReport(1, "a", Phase.RUNNING, {"0": Tally(2)})]


def test_a_part_is_lines_with_their_digest(job: JobStore, memory_store: Store) -> None:
    part = job.write_part("errors", 3, attempt="e1", lines=[b"{}", b"[]"])
    assert memory_store.get("errors/part-00003-e1.jsonl") == b"{}\n[]\n"
    assert (part.rows, part.bytes) == (2, 6)
    assert part.sha256 == "687b42339fb4baae49aafbeb4c83c2ee7b1e4dedfed04dc677b692ced26fa0d8"


def test_writing_the_same_part_again_is_fine_and_other_bytes_are_refused(job: JobStore) -> None:
    part = job.write_part("results", 0, attempt="e1", lines=[b"{}"])
    assert job.write_part("results", 0, attempt="e1", lines=[b"{}"]) == part
    with pytest.raises(JobFailed, match="not unique"):
        job.write_part("results", 0, attempt="e1", lines=[b"[]"])


def test_a_part_of_no_lines_is_a_mistake(job: JobStore) -> None:
    with pytest.raises(ValueError, match="at least one line"):
        job.write_part("results", 0, attempt="e1", lines=[])


def test_a_part_that_the_store_cut_short_is_noticed(job: JobStore, memory_store: Store) -> None:
    assert job.spec() == SPEC

    class Cutting(FaultStore):
        def head(self, key: str) -> ObjectInfo:
            return ObjectInfo(key, 1, "etag")

    with pytest.raises(JobFailed, match="wrote 3 bytes, the store holds 1"):
        JobStore(Cutting(memory_store)).write_part("results", 0, attempt="e1", lines=[b"{}"])


def test_the_first_commit_of_a_shard_wins(job: JobStore) -> None:
    ours, theirs = make_commit(0, 3, epoch=1), make_commit(0, 3, epoch=2)
    assert job.commit(ours) == ours
    assert job.commit(theirs) == ours
    assert job.commit_of(0) == ours
    assert job.commit_of(1) is None


def test_commits_are_read_once_each(job: JobStore, memory_store: Store) -> None:
    writer = job
    counting = FaultStore(memory_store)
    reader = JobStore(counting)
    for shard in (2, 0, 1):
        writer.commit(make_commit(shard, 1))
    assert list(reader.commits()) == [0, 1, 2]
    assert counting.operations == 2 + 1 + 3  # of commits and voids, and the spec
    writer.commit(make_commit(3, 1))
    assert reader.committed_shards() == {0, 1, 2, 3}
    assert len(reader.commits()) == 4
    assert counting.operations == 6 + 2 + 2 + 1


def test_lines_come_in_input_order_before_and_after_the_end(job: JobStore) -> None:
    for shard, rows in ((1, [b"d", b"e"]), (0, [b"a", b"b", b"c"])):
        part = job.write_part("results", shard, attempt="e1", lines=rows)
        commit = make_commit(shard, len(rows))
        job.commit(type(commit)(shard, 1, "e1", part, None, len(rows)))
    assert list(job.lines("results")) == [b"a", b"b", b"c", b"d", b"e"]
    close(job)
    assert list(job.lines("results")) == [b"a", b"b", b"c", b"d", b"e"]
    assert list(job.lines("errors")) == []


def test_lines_of_a_part_that_was_changed_are_refused(job: JobStore, memory_store: Store) -> None:
    part = job.write_part("results", 0, attempt="e1", lines=[b"{}"])
    commit = make_commit(0, 1)
    job.commit(type(commit)(0, 1, "e1", part, None, 1))
    memory_store.put(part.key, b"[]\n")
    with pytest.raises(JobFailed, match=r"part-00000-e1.jsonl: the bytes differ"):
        list(job.lines("results"))


def test_the_first_stop_stands(job: JobStore) -> None:
    job.request_stop(Stop(StopState.CANCELLED, "by a", AT))
    assert job.request_stop(Stop(StopState.EXPIRED, "late", AT)).state is StopState.CANCELLED
    assert job.stop() == Stop(StopState.CANCELLED, "by a", AT)


def test_garbage_is_collected_only_behind_the_stored_manifest(job: JobStore, memory_store: Store) -> None:
    for shard, rows in ((0, 3), (1, 2)):
        job.commit(make_commit(shard, rows))
    stray = job.write_part("errors", 1, attempt="late", lines=[b"{}"])
    plan = make_plan()
    manifest = close_ledger(SPEC, plan, commits=job.commits(), stop=None, closing=Closing(ENGINE, 1, AT, AT))
    with pytest.raises(ValueError, match="only after"):
        job.collect_garbage(manifest)
    assert memory_store.get(stray.key)
    assert job.collect_garbage(job.create_manifest(manifest)) == 1
    assert job.collect_garbage(manifest) == 0


def test_the_first_manifest_stands(job: JobStore) -> None:
    for shard, rows in ((0, 3), (1, 2)):
        job.commit(make_commit(shard, rows))
    first = close(job)
    other = close_ledger(SPEC, make_plan(), commits=job.commits(), stop=None, closing=Closing(ENGINE, 9, AT, AT))
    assert other != first
    assert job.create_manifest(other) == first


def test_the_record_follows_the_objects(job: JobStore) -> None:
    states = [job.record(NOW).state]
    job.create_plan(make_plan())
    job.create_epoch(Epoch(1, HOLDER, AT))
    states.append(job.record(NOW).state)
    job.beat(make_heartbeat())
    states.append(job.record(NOW).state)
    for shard, rows in ((0, 3), (1, 2)):
        job.commit(make_commit(shard, rows))
    job.beat(replace(make_heartbeat(beat=2), progress=Progress(rows_total=5, succeeded=5)))
    states.append(job.record(NOW).state)
    close(job)
    states.append(job.record(NOW).state)
    assert states == [
        JobState.VALIDATING,
        JobState.PENDING,
        JobState.RUNNING,
        JobState.WRITING_RESULTS,
        JobState.COMPLETED,
    ]


def test_looking_at_a_running_job_again_reads_only_what_may_have_changed(memory_store: Store) -> None:
    writer = JobStore(memory_store)
    writer.create_spec(make_spec())
    writer.create_plan(make_plan())
    writer.create_epoch(Epoch(1, HOLDER, AT))
    counting = FaultStore(memory_store)
    reader = JobStore(counting)
    reader.record(NOW)
    before = counting.operations
    reader.record(NOW)
    assert counting.operations - before == 5  # epochs, heartbeat, end, stop and manifest
    writer.beat(replace(make_heartbeat(), progress=Progress(rows_total=5, succeeded=5)))
    before = counting.operations
    reader.record(NOW)
    assert counting.operations - before == 5 + 2  # no row is missing: and the commits, and which of them are void


def test_looking_at_an_ended_job_takes_two_reads(job: JobStore, memory_store: Store) -> None:
    job.create_plan(make_plan())
    for shard, rows in ((0, 3), (1, 2)):
        job.commit(make_commit(shard, rows))
    close(job)
    counting = FaultStore(memory_store)
    reader = JobStore(counting)

    record = reader.record(NOW)

    assert counting.operations == 2  # spec and manifest
    assert (record.state, record.rows, record.attempts) == (JobState.COMPLETED, 5, 1)
    reader.record(NOW)
    assert counting.operations == 2


def test_a_job_whose_engine_was_faster_than_its_first_heartbeats_goes_through_its_states_in_order(
    job: JobStore,
) -> None:
    job.create_plan(make_plan())
    job.create_epoch(Epoch(1, HOLDER, AT))
    for shard, rows in ((0, 3), (1, 2)):
        job.commit(make_commit(shard, rows))
    states = [job.record(NOW).state]
    for beat, (phase, succeeded) in enumerate(((Phase.SCANNING, 0), (Phase.RUNNING, 0), (Phase.RUNNING, 5)), start=1):
        total = 0 if phase == Phase.SCANNING else 5
        progress = Progress(rows_total=total, succeeded=succeeded)
        job.beat(replace(make_heartbeat(beat=beat, phase=phase), progress=progress))
        states.append(job.record(NOW).state)
    assert states == [JobState.PENDING, JobState.PENDING, JobState.RUNNING, JobState.WRITING_RESULTS]


def test_a_store_that_overwrites_is_refused(memory_store: Store) -> None:
    class Overwriting(FaultStore):
        def create(self, key: str, content: bytes) -> bool:
            self.put(key, content)
            return True

    from connectors.stores.registry import probe

    with pytest.raises(ConditionalWritesIgnored):
        probe(Overwriting(memory_store), "_job/probes/", "n")


def test_opening_with_a_nonce_leaves_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("out")
    JobStore.open(str(folder), probe_nonce="n")
    assert [path for path in folder.rglob("*") if path.is_file()] == []
