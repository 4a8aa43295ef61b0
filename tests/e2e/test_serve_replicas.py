"""Three servers over one root in a bucket: what one answered the others have, by id at once and in lists soon."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import openai
import pytest
from long_run import LONG
from serving import MODEL, Serving, register, requests
from stores import BUCKET

CREATES = 300 if LONG else 30
LISTED_WITHIN_S = 2.5
pytestmark = pytest.mark.cloud


@pytest.fixture
def three(s3_endpoint: str) -> Iterator[list[Serving]]:
    root = f"s3://{BUCKET}/{uuid4().hex}"
    first = Serving(root, ("--no-scheduler",))
    register(first, MODEL, {})
    with ExitStack() as ending:
        served = [Serving(root, ("--no-scheduler",)).start() for _ in range(3)]
        for each in served:
            assert each.process is not None
            ending.callback(each.process.kill)
        yield served


def test_what_one_answered_the_others_have(three: list[Serving]) -> None:
    key = three[0].key()
    clients = [each.client(key) for each in three]
    file = clients[0].files.create(file=("a.jsonl", requests(1)), purpose="batch")

    def create(number: int) -> str:
        client, others = clients[number % 3], [clients[(number + step) % 3] for step in (1, 2)]
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            extra_headers={"idempotency-key": str(number // 2)},  # each is asked for twice, of two servers at once
        )
        for other in others:
            assert other.batches.retrieve(batch.id).id == batch.id
            assert other.files.retrieve(file.id).bytes == file.bytes
        return batch.id

    with ThreadPoolExecutor(12) as pool:
        made = set(pool.map(create, range(CREATES)))

    assert len(made) == CREATES // 2
    time.sleep(LISTED_WITHIN_S)
    for client in clients:
        assert {batch.id for batch in client.batches.list(limit=100)} == made

    clients[1].files.delete(file.id)
    for client in clients:
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(file.id)
