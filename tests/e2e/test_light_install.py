"""The core without an engine: it looks and checks, and says what to install before it starts anything."""

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from terminal import ROOT, clean_environment

LIGHT = ("click", "fsspec", "orjson", "pyarrow", "rich", "zstandard")
START = """
from batch import BatchInferenceJob, Dataset
dataset = Dataset.from_list([{"prompt": "1"}]).sync()
try:
    BatchInferenceJob.create("m", dataset.id, engine="echo")
except Exception as error:
    print(type(error).__name__, error)
print(len(BatchInferenceJob.list()))
"""


def closure(names: tuple[str, ...]) -> set[str]:
    """The distributions that have to be installed for these, without their extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needed = map(Requirement, distribution(name).requires or ())
            waiting += [n.name for n in needed if n.marker is None or n.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the light install has, and nothing else."""
    folder = tmp_path_factory.mktemp("light")
    for name in closure(LIGHT):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or () if file.parts[0] not in ("..", "__pycache__")}:
            (folder / top).symlink_to(str(installed.locate_file(top)))
    return folder


def python(packages: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(folder, PYTHONPATH=f"{ROOT}:{packages}", XDG_DATA_HOME=str(folder / "data"))
    # -S: without the packages of this environment.
    command = [sys.executable, "-S", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_text(json.dumps({"prompt": "1"}) + "\n")
    return tmp_path


@pytest.mark.parametrize("engine", ["vllm", "echo", "openai"])
def test_run_says_what_to_install_and_writes_nothing(packages: Path, folder: Path, engine: str) -> None:
    words = ("--model", "org/m", "--engine", engine, "--output", "out")
    address = ("--engine-arg", "base_url=http://127.0.0.1:9/v1") if engine == "openai" else ()

    ended = python(packages, folder, "-m", "batch", "run", "in.jsonl", *words, *address)

    assert ended.returncode == 2
    assert "install batchctl[cpu], or batchctl[cuda]" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (folder / "out").exists()


def test_the_sdk_says_it_too_and_makes_no_job(packages: Path, folder: Path) -> None:
    ended = python(packages, folder, "-c", START)

    assert "UsageError ray not installed" in ended.stdout, ended.stderr
    assert "install batchctl[cpu]" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "0"


def test_all_that_needs_no_engine_works(packages: Path, folder: Path) -> None:
    assert python(packages, folder, "-m", "batch", "validate", "in.jsonl").returncode == 0
