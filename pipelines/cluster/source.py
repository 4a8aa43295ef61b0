"""The Ray Data source: the shards that a job still has to run, one block each, as one stream.

A block carries the shard's number alone; the engine actor reads the lines itself, so that no row passes through
Ray's object store and no block size splits a shard (docs/decisions/0001). Knows nothing of engines.
"""

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import Block, BlockMetadata

SHARD_SCHEMA = pa.schema([("shard", pa.int64())])


class PlannedShards(Datasource):
    """One read task that streams one single-row block per shard, in the given order."""

    def __init__(self, shards: Sequence[int]) -> None:
        super().__init__()
        self._shards = pa.array(shards, pa.int64())

    def estimate_inmemory_data_size(self) -> int:
        return int(self._shards.nbytes)

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002 - the order of the stream is the plan's, whatever Ray Data would like
        per_task_row_limit: int | None = None,  # noqa: ARG002
        data_context: object = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        metadata = BlockMetadata(
            num_rows=len(self._shards), size_bytes=self._shards.nbytes, input_files=None, exec_stats=None
        )
        return [ReadTask(_stream(self._shards), metadata, schema=SHARD_SCHEMA)]


def _stream(shards: pa.Array) -> Callable[[], Iterable[Block]]:
    def blocks() -> Iterable[Block]:
        for start in range(len(shards)):
            yield pa.Table.from_arrays([shards.slice(start, 1)], schema=SHARD_SCHEMA)

    return blocks
