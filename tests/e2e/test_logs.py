"""What a job says in its log and on the terminal: no prompt, no answer and no key."""

import json
from pathlib import Path

import pytest
from long_run import long_only
from terminal import Output, Terminal

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

PROMPT, KEY = "walrus-of-the-north", "sk-a-key-that-nobody-may-read"


def test_a_jobs_log_holds_no_prompt_no_answer_and_no_key(
    person: dict[str, str], ray_cluster: str, tmp_path: Path
) -> None:
    keys = {"OPENAI_API_KEY": KEY, "BATCHCTL_API_KEY": KEY, "AWS_SECRET_ACCESS_KEY": KEY}
    terminal = Terminal(tmp_path, person | keys, ray=ray_cluster)
    good = [{"custom_id": f"row-{n}", "prompt": f"{PROMPT} {n}"} for n in range(50)]
    bad = [{"custom_id": "bad", "messages": PROMPT}, {"custom_id": "long", "prompt": PROMPT * 100, "temperature": 9}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, [*good, *bad])) + f'\n{{"torn": "{PROMPT}\n')

    said = terminal.run("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")

    assert said.returncode == 0, said.stderr
    output = Output(tmp_path / "out")
    assert sum(PROMPT in json.dumps(row) for row in output.rows("results")) == 50
    logs = list((tmp_path / "out" / "_job" / "logs").iterdir())
    texts = [path.read_text() for path in logs] + [said.stderr]
    assert any("first row admitted" in text for text in texts)  # the log at INFO is what is looked at
    assert not any(PROMPT in text or KEY in text for text in texts)
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in content for content in written)
    assert KEY not in said.stdout


@long_only  # half a minute is half a minute
def test_every_half_minute_a_jobs_log_says_once_how_far_it_is(terminal: Terminal) -> None:
    rows = [json.dumps({"custom_id": f"row-{n}", "prompt": f"number {n}"}) for n in range(3000)]
    (terminal.folder / "in.jsonl").write_text("\n".join(rows))
    slow = ("--engine", "echo", "--engine-arg", "delay_s=3.2")  # a window of 256 rows: 38 s

    ended = terminal.run("run", "in.jsonl", "--model", "m", *slow, "--output", "out")

    assert ended.returncode == 0, ended.stderr
    log = terminal.run("logs", "out").stdout
    told = [line.partition(" rows done")[0] for line in log.splitlines() if "rows done" in line]
    assert told
    assert len(told) == len(set(told)), log
    assert "256 in flight" in log
