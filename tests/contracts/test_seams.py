"""The table of seams: each vendor is as its seam expects, and one that has changed is noticed."""

import logging
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from pipelines import seams
from pipelines.seams import SEAMS, Seam

pytestmark = pytest.mark.slow  # vLLM and Ray are imported

EFFECTS = {
    "fork-server": "e2e/test_seams.py::test_engines_are_forks",
    "forked-engine": "e2e/test_seams.py::test_engines_are_forks",
    "final-outputs": "e2e/test_seams.py::test_the_scheduler_tells_its_load",
    "grammars": "e2e/test_vllm.py::test_a_row_whose_grammar_explodes_fails_and_its_neighbours_are_answered",
    "fast-chat": "e2e/test_seams.py::test_plain_chats_are_numbered",
    "cpu-kernels": "e2e/test_seams.py::test_norms_are_one_kernel",
    "cpu-cache": "e2e/test_seams.py::test_the_cache_is_not_touched",
    "ray-one-machine": "e2e/test_batch_cli_run.py::test_beside_an_engines_actor_ray_works_in_no_process",
    "ray-start": "e2e/test_ray_start.py::test_a_start_that_takes_too_long_is_tried_again_and_nothing_of_it_stays",
    "ray-death": "chaos/test_node_loss.py::test_a_raylet_that_dies_ends_its_attempt_and_the_same_command_goes_on",
    "ray-safe-path": "e2e/test_places.py::test_a_job_among_folders_named_like_our_packages_finds_its_own_and_writes",
}
"""Where each seam's effect is seen in the vendor's own running code."""

CHANGED = [
    ("fork-server", "multiprocessing.popen_forkserver:Popen._launch"),
    ("forked-engine", "vllm.v1.engine.utils:CoreEngineProcManager.__init__"),
    ("final-outputs", "vllm.v1.core.sched.scheduler:Scheduler.make_stats"),
    ("final-outputs", "vllm.v1.engine.async_llm:AsyncLLM.__init__"),
    ("grammars", "vllm.v1.structured_output:StructuredOutputManager._create_grammar"),
    ("grammars", "vllm.v1.core.sched.scheduler:Scheduler.update_from_output"),
    ("fast-chat", "vllm.entrypoints.openai.chat_completion.serving:OpenAIServingChat.__init__"),
    ("fast-chat", "vllm.v1.engine.async_llm:AsyncLLM.add_request"),
    ("cpu-kernels", "vllm.ir.op:IrOp.register_impl"),
    ("cpu-cache", "vllm.v1.worker.gpu_worker:Worker.initialize_from_config"),
    ("ray-one-machine", "ray.data._internal.execution.streaming_executor:StreamingExecutor.execute"),
    ("ray-one-machine", "ray.data._internal.stats:_StatsManager.update_execution_metrics"),
    ("ray-start", "ray._private.node:Node.__init__"),
    ("ray-death", "ray._private.worker:_global_node"),
    ("ray-safe-path", "ray._private.worker:connect"),
]
"""Names of vendors that a release may give to something else, or to nothing."""


def named(name: str) -> Seam:
    (seam,) = [seam for seam in SEAMS if seam.name == name]
    return seam


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_the_vendor_is_as_the_seam_expects(seam: Seam) -> None:
    assert seam.problem() == ""


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_each_seam_has_a_test_of_its_effect(seam: Seam) -> None:
    file, _, name = EFFECTS[seam.name].partition("::")
    assert f"def {name}" in (Path(__file__).parents[1] / file).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "changed"), CHANGED)
def test_a_vendor_that_has_changed_is_noticed(name: str, changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner_name, _, attribute = changed.rpartition("." if "." in changed.partition(":")[2] else ":")
    owner: Any = resolve_name(owner_name)
    seam = named(name)
    assert seam.problem() == ""

    with monkeypatch.context() as patched:
        patched.delattr(owner, attribute)

        assert seam.problem() != ""


def test_a_seam_whose_vendor_has_changed_is_told_once_and_is_not_applied(caplog: pytest.LogCaptureFixture) -> None:
    seam = Seam("unheard-of", "vLLM", "pipelines.nowhere:probe", "nothing")

    with caplog.at_level(logging.INFO):
        assert [seam.holds() for _ in range(3)] == [False] * 3

    (told,) = caplog.messages
    assert told.startswith("seam unheard-of: off, since vLLM is not as expected: ModuleNotFoundError: ")
    assert caplog.records[0].levelno == logging.WARNING


def test_one_switch_turns_all_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(seams.SWITCH, "off")
    copies = [Seam(seam.name, seam.vendor, seam.probe, f"{seam.why}, off") for seam in SEAMS]

    with caplog.at_level(logging.INFO):
        assert not any(seam.holds() for seam in copies)

    assert caplog.messages == [f"seam {seam.name}: off, by BATCHCTL_SEAMS" for seam in SEAMS]
