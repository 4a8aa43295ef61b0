"""Jobs that run the failed rows of another: which rows those are, and that both ledgers add up."""

import gzip
from uuid import uuid4

import orjson
import pytest
from endings import Failing, end, plan_of
from engines import ids, output, planned_job, row, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import CREATED_AT, make_spec

from batch.errors import JobNotFound, UsageError
from batch.jobs.store import JobStore
from batch.planning.plan import Continuation, decode_plan, encode_plan, make_plan
from batch.records.manifest import decode_manifest, encode_manifest
from batch.result import Code
from batch.submission.retry_failed import continue_plan, continue_spec
from connectors.stores.registry import open_store


def continued(old: JobStore, *codes: str) -> JobStore:
    """A job over the failed rows of another, planned and not begun."""
    spec = continue_spec(old, codes, job_id=f"job-{uuid4().hex}", output=f"{old.uri}-{uuid4().hex}", created_at="now")
    job = JobStore.open(spec.output)
    job.create_spec(spec)
    job.create_plan(continue_plan(spec))
    return job


def places(job: JobStore) -> dict[str, tuple[str, int, int]]:
    """custom_id -> file, line and offset of each error."""
    errors = {line["custom_id"]: line["error"] for line in output(job, "errors")}
    return {custom_id: (error["file"], error["line"], error["offset"]) for custom_id, error in errors.items()}


BROKEN = {"r1": Code.TIMEOUT, "r2": Code.INTERNAL, "r5": Code.TIMEOUT}
LINES = [*rows(4), b"", b"not json", row("r0"), row("r5"), row("r6")]


def test_every_failed_row_is_run_again_and_no_other() -> None:
    old = planned_job(LINES, shard_rows=2)
    before = end(old, BROKEN)

    job = continued(old)
    after = end(job)

    assert ids(job) == ["r1", "r2", "r5"]
    assert (before.succeeded, before.failed) == (3, 5)
    assert (after.lines, after.blank, after.succeeded, after.failed) == (5, 0, 3, 2)
    assert after.failed_by_code == {"duplicate_custom_id": 1, "malformed_json": 1}
    assert after.continued_from == Continuation("job-1", old.uri, succeeded=3, retried=5, left_by_code={})
    assert decode_manifest(encode_manifest(after), key="k") == after


def test_only_the_rows_with_the_given_codes_are_run_again() -> None:
    old = planned_job(LINES, shard_rows=3)
    end(old, BROKEN)

    job = continued(old, "timeout", "timeout")
    after = end(job, {"r5": Code.INTERNAL})

    assert (ids(job), ids(job, "errors")) == (["r1"], ["r5"])
    left = {"duplicate_custom_id": 1, "internal": 1, "malformed_json": 1}
    assert after.continued_from == Continuation("job-1", old.uri, succeeded=3, retried=2, left_by_code=left)


def test_rows_keep_their_place_and_the_id_made_of_it() -> None:
    old = planned_job([{"prompt": str(n)} for n in range(6)], shard_rows=4)
    broken = {f"in.jsonl:{number}": Code.TIMEOUT for number in (2, 5, 6)}
    end(old, broken)

    job = continued(old)
    end(job, broken)

    assert len(places(old)) == 3
    assert places(job) == places(old)


def test_what_is_heeded_breaks_off_between_some_parts_and_the_next() -> None:
    class Stopped(Exception):
        pass

    heeded: list[int] = []

    def heed() -> None:
        heeded.append(1)
        if len(heeded) == 3:
            raise Stopped

    old = planned_job(rows(40), shard_rows=1)
    end(old, {f"r{n}": Code.TIMEOUT for n in range(40)})
    spec = continue_spec(old, job_id="job-2", output="memory://x/o", created_at=CREATED_AT)

    with pytest.raises(Stopped):
        continue_plan(spec, heed)


def test_a_repeated_id_stays_one_when_its_first_use_is_not_run_again() -> None:
    old = planned_job([row("a"), row("b"), row("a")])
    end(old)

    job = continued(old, "duplicate_custom_id")

    assert end(job).failed_by_code == {"duplicate_custom_id": 1}


def test_a_continued_job_is_continued_in_turn() -> None:
    first = planned_job(rows(6), shard_rows=3)
    end(first, {"r1": Code.TIMEOUT, "r3": Code.TIMEOUT, "r4": Code.INTERNAL, "r5": Code.TIMEOUT})
    second = continued(first, "timeout")
    end(second, {"r3": Code.TIMEOUT, "r5": Code.TIMEOUT})

    third = continued(second)
    after = end(third)

    assert (ids(second), ids(third)) == (["r1"], ["r3", "r5"])
    assert after.continued_from == Continuation(second.spec().job_id, second.uri, 1, 2, {})


@pytest.mark.parametrize("suffix", ["jsonl.gz", "csv"])
def test_rows_of_files_that_are_cut_by_rows(suffix: str) -> None:
    root = f"memory://continued-{uuid4().hex}"
    text = b"".join(orjson.dumps({"custom_id": f"r{n}", "prompt": "x"}) + b"\n" for n in range(5))
    table = b"custom_id,prompt\n" + b"".join(b"r%d,x\n" % n for n in range(5))
    open_store(root).put(f"in.{suffix}", table if suffix == "csv" else gzip.compress(text))
    old = JobStore.open(f"{root}/out")
    spec = make_spec(inputs=(f"{root}/in.{suffix}",), output=old.uri, shard_rows=3)
    old.create_spec(spec)
    old.create_plan(make_plan(spec))
    end(old, {"r1": Code.TIMEOUT, "r4": Code.TIMEOUT})

    job = continued(old)
    end(job)

    assert ids(job) == ["r1", "r4"]


def test_the_settings_are_those_of_the_old_job_without_its_budget() -> None:
    old = planned_job(rows(2), max_failed_rows="1", row_timeout_s=7, display_name="Nightly")

    spec = continue_spec(old, ("timeout", "internal"), job_id="j2", output="memory://x/o", created_at=CREATED_AT)

    changed = {"output", "max_failed_rows", "continued_from", "continued_from_output", "retry_codes"}
    assert spec.differences(old.spec()).keys() == changed
    assert (spec.continued_from, spec.retry_codes) == ("job-1", ("internal", "timeout"))
    assert (spec.row_timeout_s, spec.max_failed_rows, spec.display_name) == (7, None, "")


def test_a_shard_that_failed_as_a_whole_names_no_lines() -> None:
    """What is left of a cancelled job may be millions of rows: its plan stays as small as the first one."""
    old = planned_job(rows(7), shard_rows=3)
    end(old, {f"r{n}": Code.CANCELLED for n in (1, 3, 4, 5, 6)})

    plan = plan_of(continued(old))

    assert [(shard.index, shard.rows, shard.spans[0].only) for shard in plan.shards] == [
        (0, 1, (2,)),
        (1, 3, ()),
        (2, 1, ()),
    ]
    assert (plan.lines, plan.rows) == (5, 5)
    assert decode_plan(encode_plan(plan)) == plan


def test_what_cannot_be_continued_is_refused_with_the_reason() -> None:
    old = planned_job(rows(3))
    with pytest.raises(UsageError, match=r"job-1 has not ended.*batchctl resume"):
        continued(old)
    end(old, {"r1": Code.TIMEOUT})
    with pytest.raises(UsageError, match=r"'timeuot' is no code.*timeout"):
        continued(old, "timeuot")
    with pytest.raises(UsageError, match=r"failed with internal; its rows failed with: timeout 1"):
        continued(old, "internal")
    with pytest.raises(JobNotFound):
        continued(JobStore.open("memory://nowhere/at-all"))
    done = continued(old)
    end(done)
    with pytest.raises(UsageError, match="nothing to retry"):
        continued(done)


def test_an_input_that_is_not_what_it_was_is_refused() -> None:
    old = planned_job(rows(3))
    end(old, {"r1": Code.TIMEOUT})
    inputs = open_store(old.uri.removesuffix("/out"))

    inputs.put("in.jsonl", b'{"prompt": "another"}\n')
    with pytest.raises(UsageError, match=r"in\.jsonl is not the file that job-1 read .*now it has 22 bytes"):
        continued(old)

    inputs.delete("in.jsonl")
    with pytest.raises(UsageError, match="it is gone"):
        continued(old)


CODES = st.sampled_from([Code.TIMEOUT, Code.INTERNAL, Code.ENGINE_CRASH])


@settings(deadline=None, max_examples=50)
@given(
    first=st.dictionaries(st.sampled_from([f"r{n}" for n in range(8)]), CODES, min_size=1),
    second=st.dictionaries(st.sampled_from([f"r{n}" for n in range(8)]), CODES),
    codes=st.sets(CODES),
    shard_rows=st.integers(1, 9),
)
def test_both_ledgers_add_up_and_no_row_is_lost_or_doubled(
    first: Failing, second: Failing, codes: set[Code], shard_rows: int
) -> None:
    old = planned_job([*rows(8), b"", b"["], shard_rows=shard_rows)
    before = end(old, first)
    objects = list(open_store(old.uri).list(""))
    if codes and codes.isdisjoint(first.values()):
        with pytest.raises(UsageError):
            continued(old, *codes)
        return

    job = continued(old, *codes)
    after = end(job, second)

    taken = after.continued_from
    assert taken is not None
    left = sum(taken.left_by_code.values())
    assert before.lines - before.blank == before.succeeded + before.failed
    assert after.lines == taken.retried == after.succeeded + after.failed
    assert taken.succeeded + after.succeeded + after.failed + left == before.lines - before.blank
    assert set(ids(job)).isdisjoint(ids(old))
    chosen = {name for name, code in first.items() if not codes or code in codes}
    assert set(ids(job)) == chosen - second.keys()
    assert list(open_store(old.uri).list("")) == objects
