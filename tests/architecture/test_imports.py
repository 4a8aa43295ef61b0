"""Who imports whom, and what the command line costs before it does anything."""

import importlib
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("ray", "vllm", "torch", "transformers", "pyarrow", "fsspec", "s3fs", "botocore", "rich")


def run_python(*arguments: str) -> str:
    """Run this Python in a clean process at the repository's root; returns what it printed."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout


def test_import_contracts_hold() -> None:
    linter = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(is_debug_mode=False))"
    finished = subprocess.run(
        [sys.executable, "-c", linter], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "import batch",
        "from batch import BatchInferenceJob, Dataset",
        "import connectors.stores.registry",
        "import batch.cli.main",
        "import batch.cli.commands.run",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(statement: str) -> None:
    report = f"import sys; print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    assert run_python("-c", f"{statement}\n{report}").splitlines()[-1] == "LOADED"


def test_help_costs_a_third_of_a_second() -> None:
    """Of processor time, which a busy machine does not change much."""
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Usage: batchctl" in run_python("-m", "batch", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 0.33, seconds


@pytest.mark.parametrize("package", ["connectors", "batch", "pipelines"])
def test_the_packages_under_these_common_names_are_ours(package: str) -> None:
    file = importlib.import_module(package).__file__
    assert file is not None
    assert Path(file) == ROOT / package / "__init__.py"
