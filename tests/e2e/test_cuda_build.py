"""The CUDA build of vLLM, taken to where it asks the driver for a device, on a machine that has none.

Stubs stand in for the driver: one tells of H100s, the other has no device. It installs 9 GB, so it is of the long run.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import gpu_machine
import pytest
from long_run import LONG
from terminal import ROOT, clean_environment

from pipelines.models import ARITHMETIC_MODEL

LACKING = ("" if shutil.which("nm") else "no nm on this machine") or gpu_machine.lacking()

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not LONG, reason="installs 9 GB: BATCHCTL_TESTS=long has it run"),
    pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is lacking"),
]

PACKAGES = ("connectors", "batch", "pipelines")
FROM_PYPI = {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull, "PIP_EXTRA_INDEX_URL": "", "PIP_NO_CACHE_DIR": "1"}
"""Where torch is the CUDA build; a folder or an index of this machine may have the CPU one."""
DRIVERS = re.compile(r" (cu(?:Ctx|Device|Get|Mem|Pointer|Tensor|Init|Driver|Module|Launch|Func|Stream|Event|Link|"
                     r"Multicast|Library|Kernel|Graph|Array|Tex|Occup|Ipc|Green)\w*)")  # fmt: skip
NO_DEVICE = "RuntimeError: Found no NVIDIA driver on your system"


@dataclass(frozen=True)
class Installed:
    """An environment with the project and its CUDA build, and the driver's libraries."""

    python: Path
    driver: Path

    def run(self, folder: Path, gpus: int, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these words on a machine with so many GPUs."""
        more = gpu_machine.driver(self.driver, gpus)
        environment = clean_environment(folder, **more)
        del environment["PYTHONPATH"]  # what is installed is run
        command = gpu_machine.within(gpus, [str(self.python), *words])
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("cuda")
    source, python = folder / "source", folder / "venv/bin/python"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "constraints.txt"):
        shutil.copy(ROOT / file, source)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    installing = [str(python), "-m", "pip", "install", "-q", "-c", "constraints.txt", ".[cuda]"]
    subprocess.run(installing, cwd=source, env=os.environ | FROM_PYPI, check=True)
    compile_driver(folder)
    return Installed(python, folder / "driver")


def compile_driver(folder: Path) -> None:
    """A libcuda that says of whatever it is asked that there is no device."""
    libraries = (
        library
        for pattern in ("vllm/*.so", "torch/lib/*.so", "nvidia/*/lib/*.so*")
        for library in folder.glob(f"venv/lib/python3*/site-packages/{pattern}")
    )
    asked: set[str] = set()
    for library in libraries:
        listing = ["nm", "-D", "--undefined-only", str(library)]
        asked |= set(DRIVERS.findall(subprocess.run(listing, capture_output=True, text=True, check=False).stdout))
    assert asked
    (folder / "cuda.c").write_text("".join(f"int {name}() {{ return 100; }}\n" for name in sorted(asked)))
    gpu_machine.compile_library(folder / "cuda.c", folder / "driver/libcuda.so.1")


def test_what_is_imported_before_the_forks_leaves_cuda_alone(installed: Installed, tmp_path: Path) -> None:
    importing = "import pipelines.engines.vllm.engine, torch; print(torch.version.cuda, torch.cuda.is_initialized())"

    ended = installed.run(tmp_path, 1, "-c", importing)

    print(ended.stdout)
    assert re.search(r"^\d+\.\d+ False$", ended.stdout, re.MULTILINE), ended.stderr


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_job_gets_as_far_as_the_drivers_no_device(installed: Installed, tmp_path: Path, gpus: int) -> None:
    row = {"messages": [{"role": "user", "content": "What is 1 plus 1?"}]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    model = ("--model", str(ARITHMETIC_MODEL), "--engine-arg", f"tensor_parallel_size={gpus}")

    ended = installed.run(tmp_path, gpus, "-m", "batch", "run", "in.jsonl", *model, "--output", "out")

    print(ended.stderr)
    log = (tmp_path / "out/_job/logs/attempt-00000001.log").read_text()
    assert ended.returncode == 1
    assert f"The engine cannot start: {NO_DEVICE}" in ended.stderr
    assert "above" not in ended.stderr
    assert "'max_num_seqs': 1024, 'max_num_batched_tokens': 16384" in log  # vLLM's for an H100
    assert f"'tensor_parallel_size': {gpus}" in log
    assert "Cannot re-initialize CUDA" not in log
    asking = "EngineCore" if gpus == 1 else "Worker"  # nobody before it asks for a device
    first = next(line for line in log.splitlines() if NO_DEVICE in line)
    assert first.startswith(f"({asking}"), first
