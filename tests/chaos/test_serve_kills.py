"""The server killed while clients work: their own retries leave one of each thing, and no running job hears of it."""

import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from long_run import LONG
from serving import ENDED, MODEL, register, requests, serving

CLIENTS, KILLS = (20, 200) if LONG else (6, 6)
RETRIES = 1000


def work(client: openai.OpenAI, own: int, enough: threading.Event) -> tuple[set[str], set[str], int]:
    """Upload and create until it is enough: the ids that were answered, and how many things were asked for."""
    files, batches, asked = set(), set(), 0
    while not enough.is_set() or not asked:
        asked += 1
        file = client.files.create(file=(f"{own}-{asked}.jsonl", requests([f"{own} {asked}"])), purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"own": f"{own}-{asked}"},
        )
        assert client.batches.retrieve(batch.id).input_file_id == file.id
        files.add(file.id)
        batches.add(batch.id)
    return files, batches, asked


def test_what_is_asked_for_again_after_a_kill_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.5)
    chance, enough = random.Random(7), threading.Event()
    with serving(tmp_path / "root", "--no-scheduler") as found, ThreadPoolExecutor(CLIENTS) as pool:
        key = found.key()
        clients = [found.client(key, max_retries=RETRIES) for _ in range(CLIENTS)]
        working = [pool.submit(work, client, own, enough) for own, client in enumerate(clients)]
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 1.0))
            found.end(signal.SIGKILL)
            found.start()
        enough.set()
        done = [each.result(timeout=250) for each in working]
        files = list(found.client(key).files.list(purpose="batch"))
        batches = list(found.client(key).batches.list(limit=100))

    asked = sum(each for _, _, each in done)
    assert {file.id for file in files} == {file_id for file_ids, _, _ in done for file_id in file_ids}
    assert {batch.id for batch in batches} == {batch_id for _, batch_ids, _ in done for batch_id in batch_ids}
    assert len(files) == len(batches) == asked >= CLIENTS
    assert len({str(batch.metadata) for batch in batches}) == asked


@pytest.mark.ray
def test_a_job_outlives_its_server_and_the_next_one_takes_it_up(tmp_path: Path) -> None:
    with serving(tmp_path / "root") as found:
        register(found, "slow", {"delay_s": 20.0})
        client = found.client(max_retries=50)
        batches = [submitted(client, model) for model in ("slow", MODEL)]
        until(lambda: seen(client, batches[0].id)["request_counts"]["total"] == 30)
        found.end(signal.SIGKILL)
        time.sleep(1)
        found.start()

        waiting = client.batches.retrieve(batches[1].id)
        assert waiting.status == "validating"
        until(lambda: "waits for the engine, in use by " in seen(client, batches[1].id)["status_message"])
        ended = [until_ended(client, batch.id) for batch in batches]

        assert [(batch.status, batch.request_counts.completed) for batch in ended] == [("completed", 30)] * 2
        assert [record.attempts for record in found.server.tenant("team").jobs.all()] == [1, 1]


def test_a_server_that_is_told_to_end_ends(tmp_path: Path) -> None:
    with serving(tmp_path / "root", "--no-scheduler") as found:
        assert found.end(signal.SIGTERM) in (0, -signal.SIGTERM)


def submitted(client: openai.OpenAI, model: str) -> Any:
    file = client.files.create(file=("a.jsonl", requests(30, model=model)), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")


def seen(client: openai.OpenAI, batch_id: str) -> dict[str, Any]:
    return client.batches.retrieve(batch_id).to_dict()


def until_ended(client: openai.OpenAI, batch_id: str) -> Any:
    until(lambda: client.batches.retrieve(batch_id).status in ENDED)
    return client.batches.retrieve(batch_id)


def until(is_so: Any, limit_s: float = 120) -> None:
    end_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.1)
