"""kill -9 of anything at any moment, again and again, until the job is complete; each time the same command goes on.

`BATCHCTL_TESTS=long` makes the series long. The seed is printed; BATCHCTL_TEST_SEED repeats its choices.
"""

import os
import random
import signal
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from answer_server import REFUSED, AnswerServer
from attempts import Attempts, check_gone, output_lines
from chaos.conftest import Watch
from fault_proxy import FaultProxy
from long_run import LONG
from stores import BUCKET
from terminal import Terminal, clean_environment, wait_until

from connectors.stores.registry import open_store

LOCAL_KILLS, S3_KILLS = (50, 50) if LONG else (6, 3)
SEED = int(os.environ.get("BATCHCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3600 if LONG else 400)]

ROWS = 3000
MALFORMED, TOO_LONG = 30, 60
WINDOW = 16  # rows in flight
JOURNAL_EVERY_S = 1.0
# Answers are looked at once a second, and then written: on a store that faults, after a few tries.
KEPT_AFTER_S = JOURNAL_EVERY_S + 6.0
SECONDS_PER_KILL = 10.0  # the pace of answers: so long may engines run between two kills before the job is done
ENGINE_GONE_WITHIN_S = 20.0
FAULTY_SHARE = 0.08
VICTIMS = ("actor", "host", "worker", "command", "raylet")
REPLACED = ("actor", "host")
ASKED = ("actor", "raylet")
"""Before an actor has asked for the prestarted host, the end of these is none of that host."""
SAYS = {"worker": "its worker died of SIGKILL", "raylet": "the same command resumes it"}
# Times, attempts and addresses; the parts' bytes are compared themselves.
DIFFERS = frozenset(
    {
        "life",
        "attempts",
        "created_at",
        "started_at",
        "finished_at",
        "engine",
        "spec_digest",
        "inputs",
        "results",
        "errors",
    }
)


@dataclass(frozen=True)
class Undisturbed:
    """What a job that nobody disturbs writes. `uri`: its input, which errors name."""

    uri: str
    results: bytes
    errors: bytes
    manifest: dict[str, object]


def prompts() -> list[str]:
    return [f"number {n}" + f" {REFUSED}" * (n % (ROWS // TOO_LONG) == 7) for n in range(ROWS)]


def lines() -> bytes:
    """Every hundredth line is no JSON, every fiftieth is refused by the engine."""
    rows = [orjson.dumps({"custom_id": f"row-{n:05d}", "prompt": prompt}) for n, prompt in enumerate(prompts())]
    rows[:: ROWS // MALFORMED] = [b"not json"] * MALFORMED
    return b"\n".join(rows) + b"\n"


def command(server: AnswerServer, inputs: str, output: str) -> tuple[str, ...]:
    engine = ("--engine", "openai", "--engine-arg", f"base_url={server.base_url}")
    window = ("--engine-arg", f"concurrency={WINDOW}", "--journal-every", f"{JOURNAL_EVERY_S:g}s")
    return ("run", inputs, "--model", "m", "--job-id", "series", *engine, *window, "--output", output)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "in.jsonl").write_bytes(lines())
    with AnswerServer() as server:
        ended = Terminal(folder, clean_environment(folder)).run(*command(server, "in.jsonl", "out"))
        assert ended.returncode == 0, ended.stderr
        assert server.asked == ROWS - MALFORMED
    return read(str(folder / "out"), f"file://{folder}/in.jsonl")


def read(output: str, uri: str) -> Undisturbed:
    """What stands there; nothing but the parts that the ledger names."""
    store = open_store(output)
    manifest = orjson.loads(store.get("manifest.json"))
    parts = {
        kind: {found.key: store.get(found.key) for found in store.list(f"{kind}/")} for kind in ("results", "errors")
    }
    for kind, found in parts.items():
        assert {part["key"] for part in manifest[kind]} == set(found)
    return Undisturbed(uri, output_lines(parts["results"]), output_lines(parts["errors"]), manifest)


def test_kills_on_a_local_disk(tmp_path: Path, undisturbed: Undisturbed, watch: Watch) -> None:
    (tmp_path / "in.jsonl").write_bytes(lines())
    with AnswerServer() as server:
        terminal = Terminal(tmp_path, clean_environment(tmp_path))
        attempts = watch(Attempts(terminal, command(server, "in.jsonl", "out"), str(tmp_path / "out")))
        suffer(attempts, server, kills=LOCAL_KILLS)
    check(read(str(tmp_path / "out"), f"file://{tmp_path}/in.jsonl"), undisturbed, attempts)


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(s3_endpoint) as found:
        found.sprinkle(FAULTY_SHARE, random.Random(SEED))
        yield found


@pytest.mark.cloud
def test_kills_while_the_store_faults(
    tmp_path: Path, undisturbed: Undisturbed, proxy: FaultProxy, watch: Watch
) -> None:
    folder = f"s3://{BUCKET}/{uuid4().hex}"
    open_store(folder).put("in.jsonl", lines())
    with AnswerServer() as server:
        terminal = Terminal(tmp_path, clean_environment(tmp_path, AWS_ENDPOINT_URL=proxy.endpoint))
        words = command(server, f"{folder}/in.jsonl", f"{folder}/out")
        attempts = watch(Attempts(terminal, words, f"{folder}/out"))
        suffer(attempts, server, kills=S3_KILLS)
    print(f"{proxy.suffered} of {len(proxy.calls)} calls of the store suffered a fault")
    assert proxy.suffered
    check(read(f"{folder}/out", f"{folder}/in.jsonl"), undisturbed, attempts)


def suffer(attempts: Attempts, server: AnswerServer, *, kills: int) -> None:
    """So many kills, then the last attempt; every row was asked for, and again only where that is promised."""
    print(f"seed {SEED}")
    chance, began_s = random.Random(SEED), time.monotonic()
    server.delay_s = kills * SECONDS_PER_KILL * WINDOW / ROWS
    victims = [VICTIMS[n % len(VICTIMS)] for n in range(kills)]
    for victim in chance.sample(victims, kills):
        kill(attempts, server, victim, chance)

    server.delay_s = 0.0
    attempts.begin()
    code, said = attempts.end()
    assert code == 0, said
    repeated = server.repeated()
    wanted = {prompt for n, prompt in enumerate(prompts()) if n % (ROWS // MALFORMED)}
    print(f"{kills} kills in {(time.monotonic() - began_s) / 60:.1f} min, {len(attempts.numbers())} attempts")
    print(f"repeated rows per kill: max {max(repeated)}, median {statistics.median(repeated):g}, {repeated}")
    print(f"the oldest answer that was given again: {server.oldest_loss_s():.1f} s before its kill")
    assert set(server.calls) == wanted
    assert server.asked == len(wanted) + sum(repeated)
    assert server.oldest_loss_s() <= KEPT_AFTER_S


def kill(attempts: Attempts, server: AnswerServer, victim: str, chance: random.Random) -> None:
    """Kill it at a random moment: from the beginning of its life on, or after the first answer."""
    running = attempts.begin()
    if chance.random() < 0.7:
        wait_until(lambda: server.asked_since_kill() or running.poll() is not None, "rows are asked for")
    time.sleep(chance.uniform(0.0, 3.0))
    if running.poll() is not None:  # of the engine's death before: that is allowed, and the same command goes on
        running = attempts.begin()
    looks = {"actor": attempts.actors, "host": attempts.hosts, "worker": attempts.worker, "raylet": attempts.raylet}
    look = looks.get(victim, attempts.command)
    wait_until(lambda: look() or running.poll() is not None, f"{victim} is there")
    if victim in ASKED:
        wait_until(lambda: attempts.has_asking_actor() or running.poll() is not None, "the actor has a host")
    print(f"kill {victim}: {len(attempts.commits())} shards committed, {server.asked} rows asked for", flush=True)
    engines, found, killed_at_s = attempts.engines(), look(), time.monotonic()
    assert found, attempts.end()
    for process in found:
        process.kill()
    if victim not in REPLACED:
        code, said = attempts.end()
        assert code == (-signal.SIGKILL if victim == "command" else 1), said
        assert SAYS.get(victim, "") in said
    check_gone(lambda: [engine for engine in engines if engine.is_alive], ENGINE_GONE_WITHIN_S)
    server.note_kill(killed_at_s)  # only now: an engine may ask for rows until it is gone


def check(output: Undisturbed, undisturbed: Undisturbed, attempts: Attempts) -> None:
    """The very bytes of an undisturbed run, and no process left."""
    assert output.results == undisturbed.results
    assert output.errors == undisturbed.errors.replace(undisturbed.uri.encode(), output.uri.encode())
    assert ledger(output) == ledger(undisturbed)
    assert output.manifest["attempts"] == len(attempts.numbers())
    attempts.check_nothing_is_left()


def ledger(output: Undisturbed) -> dict[str, object]:
    """The manifest without times, attempts and addresses."""
    return {name: value for name, value in output.manifest.items() if name not in DIFFERS}
