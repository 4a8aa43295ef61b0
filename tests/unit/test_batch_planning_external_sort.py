import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.errors import JobFailed
from batch.planning.duplicate_ids import DuplicateScan
from batch.planning.external_sort import SpillSort

ENTRIES = st.tuples(st.binary(max_size=3), st.integers(0, 2**62), st.binary(max_size=20))


@given(entries=st.lists(ENTRIES, max_size=50, unique_by=lambda entry: entry[:2]))
def test_entries_come_back_by_key_then_number(entries: list[tuple[bytes, int, bytes]]) -> None:
    with SpillSort() as spill:
        for entry in entries:
            spill.add(*entry)
        assert list(spill.sorted()) == [(number, content) for _, number, content in sorted(entries)]


def test_a_full_disk_is_told_with_what_to_do() -> None:
    def fill() -> None:
        with SpillSort() as spill:
            spill._database.execute("PRAGMA max_page_count=100")  # as good as a disk of 400 KiB
            for number in range(10_000):
                spill.add(b"", number, bytes(1000))

    with pytest.raises(JobFailed, match=r"database or disk is full; SQLITE_TMPDIR names"):
        fill()


class Enough(Exception):
    pass


def test_a_sort_that_takes_long_can_be_broken_off() -> None:
    heeded: list[int] = []

    def heed() -> None:
        heeded.append(1)
        if is_sorting:
            raise Enough

    is_sorting = False

    def sort() -> None:
        nonlocal is_sorting
        with DuplicateScan(heed) as ids:
            for number in range(50_000):
                ids.add(f"row-{number}", 0, number)
            is_sorting = True
            list(ids.repeated())

    with pytest.raises(Enough):
        sort()
    assert heeded


def test_more_than_waits_in_memory_is_sorted() -> None:
    with SpillSort() as spill:
        for number in range(30_000):
            spill.add(b"%d" % (number % 7), number, bytes(1000))
        numbers = [number for number, _ in spill.sorted()]
    assert numbers == sorted(range(30_000), key=lambda number: (number % 7, number))
