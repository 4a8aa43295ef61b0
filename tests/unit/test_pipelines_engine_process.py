"""The process that an engine runs in: forked, with the environment of the moment."""

import gc
import os
from multiprocessing import forkserver
from pathlib import Path

import pytest

from pipelines.engines.engine_process import ForkedContext, collector_paused


def write_what_it_sees(*, target: Path, variable: str) -> None:
    target.write_text(f"{os.environ.get(variable)} {os.getppid()}")


def test_a_forked_process_has_the_environment_of_its_start_and_not_of_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forkserver.ensure_running()
    seen = tmp_path / "seen"

    for value in ("first", "second"):
        monkeypatch.setenv("BATCHCTL_TEST_VALUE", value)
        process = ForkedContext().Process(
            target=write_what_it_sees, name="engine", kwargs={"target": seen, "variable": "BATCHCTL_TEST_VALUE"}
        )
        process.start()
        process.join()

        assert process.exitcode == 0
        value_seen, parent = seen.read_text().split()
        assert value_seen == value
        assert int(parent) != os.getpid()  # the fork server


def import_nothing() -> None:
    assert not gc.isenabled()
    raise ImportError


def test_the_collector_rests_for_an_import_and_works_again_after_one_that_failed() -> None:
    with pytest.raises(ImportError), collector_paused():
        import_nothing()

    assert gc.isenabled()
