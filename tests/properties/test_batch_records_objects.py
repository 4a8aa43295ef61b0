import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.phases import Phase
from batch.records.objects import (
    Commit,
    CorruptRecord,
    Epoch,
    Heartbeat,
    Holder,
    Part,
    Progress,
    decode_record,
    encode_record,
)
from batch.result import Usage

TEXT = st.text(max_size=20)
COUNT = st.integers(0, 2**53)
SPEED = st.floats(0, 1e9)
SCALAR = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
PART = st.none() | st.builds(Part, TEXT, COUNT, COUNT, TEXT)
RECORDS = st.one_of(
    st.builds(
        Epoch, COUNT, st.builds(Holder, TEXT, COUNT, TEXT, TEXT), TEXT, st.dictionaries(TEXT, SCALAR, max_size=3)
    ),
    st.builds(
        Heartbeat,
        *(COUNT, COUNT, TEXT, st.sampled_from(Phase)),
        st.builds(Progress, *([COUNT] * 5), *([SPEED] * 3), st.none() | SPEED, TEXT),
    ),
    st.builds(
        Commit,
        *(COUNT, COUNT, TEXT, PART, PART, COUNT),
        st.dictionaries(TEXT, COUNT, max_size=3),
        st.builds(Usage, COUNT, COUNT, COUNT),
    ),
)


@given(RECORDS)
def test_decoding_undoes_encoding(record: Epoch | Heartbeat | Commit) -> None:
    assert decode_record(type(record), encode_record(record), key="k") == record


@given(RECORDS, st.integers(1, 30))
def test_a_record_that_was_cut_short_never_decodes(record: Epoch | Heartbeat | Commit, missing: int) -> None:
    with pytest.raises(CorruptRecord):
        decode_record(type(record), encode_record(record)[:-missing], key="k")
