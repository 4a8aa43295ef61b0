"""The stored table of engine arguments is what the installed vLLM says: names, kinds, choices, bounds."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


def test_the_table_is_vllms_own() -> None:
    checking = [sys.executable, "-m", "pipelines.engines.vllm.dump_arguments", "--check"]

    assert subprocess.run(checking, check=False).returncode == 0
