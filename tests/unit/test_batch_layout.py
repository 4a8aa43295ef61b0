import pytest

from batch import layout


def test_keys_of_epochs_and_commits_read_back() -> None:
    assert layout.epoch_number(layout.epoch(12)) == 12
    assert layout.shard_and_redo(layout.commit(123_456_789)) == (123_456_789, 0)


@pytest.mark.parametrize(
    "key", [layout.attempt_end(1), layout.commit(1), "_job/epochs/x.json", "_job/epochs/١.json", ""]
)
def test_other_keys_are_no_epochs(key: str) -> None:
    assert layout.epoch_number(key) is None


def test_keys_sort_as_their_numbers_do() -> None:
    assert sorted(layout.commit(n) for n in (100, 9, 11)) == [layout.commit(n) for n in (9, 11, 100)]


def test_parts_of_two_attempts_never_meet() -> None:
    assert layout.part("results", 12, "e1-a") == "results/part-00012-e1-a.jsonl"
    assert layout.part("results", 12, "e1-a") != layout.part("results", 12, "e2-b")
