"""The Python session of the README, run as it stands there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import blocks

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_python_session_answers_every_question(tmp_path: Path) -> None:
    (session,) = blocks(ROOT / "README.md", "python")
    printed = subprocess.run(
        [sys.executable, "-c", session],
        cwd=ROOT,
        env=os.environ | {"BATCHCTL_WORKSPACE": str(tmp_path / "workspace")},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=580,
    ).stdout
    custom_ids, answers = zip(*(line.split(maxsplit=1) for line in printed.splitlines()), strict=True)
    assert [custom_id.rpartition(":")[2] for custom_id in custom_ids] == ["1", "2", "3"]
    assert answers == ("7", "21", "62")
