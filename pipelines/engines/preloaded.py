"""What the fork server of `engine_process` imports before any fork: vLLM's engine. Of no use to anyone else."""

import gc

from pipelines.engines.engine_process import collector_paused

with collector_paused():
    import vllm.v1.engine.core  # noqa: F401

gc.freeze()  # the forks share what is here: their collectors need not touch it
