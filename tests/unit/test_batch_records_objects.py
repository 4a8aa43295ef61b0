import pickle

import orjson
import pytest
from jobs import make_commit, make_heartbeat

from batch.phases import Phase
from batch.records.objects import (
    AttemptEnd,
    Commit,
    CorruptRecord,
    EngineReport,
    Epoch,
    Exit,
    Holder,
    Stop,
    StopState,
    Tally,
    decode_record,
    encode_record,
)
from batch.result import Code

RECORDS = [
    Epoch(
        3, Holder("h", 1, "2", "b"), "2026-01-01T00:00:00Z", {"replicas": "2", "n": 1, "x": None, "f": 0.5, "b": True}
    ),
    make_heartbeat(),
    make_commit(4, 2, 1),
    make_commit(5, 0, 1),
    Stop(StopState.EXPIRED, "the deadline", "2026-01-01T00:00:00Z"),
    AttemptEnd(1, Exit.INTERRUPTED, "Ctrl-C", "2026-01-01T00:00:00Z"),
    EngineReport(1, "e-1", Phase.RUNNING, {"7": Tally(1, 2, 3, 4)}),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_reads_back_as_it_was_written(record: object) -> None:
    assert decode_record(type(record), encode_record(record), key="k") == record


def test_records_carry_a_format() -> None:
    assert orjson.loads(encode_record(make_commit(1, 1)))["format"] == 1


def test_row_codes_may_be_keys() -> None:
    commit = Commit(0, 1, "a", None, None, 0, {Code.TIMEOUT: 2})
    assert decode_record(Commit, encode_record(commit), key="k").failed_by_code == {"timeout": 2}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b'{"format":1,"state":"CANCELLED"', "not JSON"),
        (b"[]", "format 1"),
        (b'{"format":2,"state":"CANCELLED","message":"","at":""}', "format 1"),
        (b'{"format":1,"state":"CANCELLED","message":""}', "'at'"),
        (b'{"format":1,"state":"CANCELLED","message":"","at":"","more":1}', "'more'"),
        (
            b'{"format":1,"state":"PAUSED","message":"","at":""}',
            "state: 'PAUSED' is not one of CANCELLED, EXPIRED, FAILED",
        ),
        (b'{"format":1,"state":"CANCELLED","message":7,"at":""}', "message: expected str, found 7"),
    ],
)
def test_a_damaged_record_names_the_key_and_the_field(content: bytes, said: str) -> None:
    with pytest.raises(CorruptRecord) as caught:
        decode_record(Stop, content, key="_job/stop.json")
    assert str(caught.value).startswith("_job/stop.json: ")
    assert said in str(caught.value)


def test_a_bool_is_no_number() -> None:
    content = encode_record(make_commit(1, 1)).replace(b'"succeeded":1', b'"succeeded":true')
    with pytest.raises(CorruptRecord, match="succeeded: expected int, found True"):
        decode_record(Commit, content, key="k")


def test_the_error_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(CorruptRecord("k: damaged")))
    assert (type(error), str(error)) == (CorruptRecord, "k: damaged")
