"""A worker that is given one job after another on its standard input, and keeps their engines."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobs import make_spec
from processes import Process, descendants
from terminal import clean_environment

from batch.jobs.store import JobStore
from pipelines.engine_process.process import PARKED_TITLE

KEEP_WARM_S = "120"


class Worker:
    """Gets orders on its standard input, and answers each with a line."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.said = folder / "said"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipelines.worker", "--jobs-from", "-", "--keep-warm-s", KEEP_WARM_S],
                env=clean_environment(folder, **environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def order(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said.read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, job: JobStore) -> int:
        """The exit code of the job."""
        self.order(json.dumps({"job": job.uri}))
        answer = self.answer()
        assert answer["job"] == job.uri
        return int(answer["exit_code"])

    def parked(self) -> list[Process]:
        return [process for process in descendants(self.process.pid) if process.command == PARKED_TITLE]

    def engines(self) -> list[Process]:
        """The processes of vLLM engines that are parked: the one in front, EngineCore, and its worker."""
        family = descendants(self.process.pid)
        return [one for one in family if one.command == PARKED_TITLE or one.command.startswith("VLLM::")]

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60)


def stored(folder: Path, name: str, bodies: list[dict[str, object]], **spec: Any) -> JobStore:
    """A job that nobody has begun."""
    source = folder / f"{name}.jsonl"
    rows = ({"custom_id": f"r{n}", "body": body} for n, body in enumerate(bodies))
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    job = JobStore.open((folder / name).as_uri())
    job.create_spec(make_spec(job_id=name, inputs=(source.as_uri(),), output=job.uri, token=name, **spec))
    return job
