"""The source of planned shards, without a cluster."""

from pipelines.cluster.source import SHARD_SCHEMA, PlannedShards


def test_one_task_streams_one_block_of_one_row_per_shard_in_order() -> None:
    source = PlannedShards([4, 0, 7])

    for parallelism in (1, 200):
        (task,) = source.get_read_tasks(parallelism)
        blocks = list(task())

        assert [block.column("shard").to_pylist() for block in blocks] == [[4], [0], [7]]
        assert all(block.schema == SHARD_SCHEMA for block in blocks)
        assert task.metadata.num_rows == 3


def test_the_size_is_that_of_the_numbers() -> None:
    assert PlannedShards(range(1000)).estimate_inmemory_data_size() == 8000


def test_blocks_are_made_only_when_they_are_asked_for() -> None:
    (task,) = PlannedShards(range(10**6)).get_read_tasks(1)

    assert next(iter(task())).column("shard").to_pylist() == [0]
