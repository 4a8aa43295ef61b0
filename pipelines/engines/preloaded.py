"""What the fork server of `engine_process` imports before any fork: vLLM's engine. Of no use to anyone else."""

import gc

from pipelines.engines.engine_process import collector_paused

with collector_paused():
    import vllm.v1.engine.core
    from vllm.platforms import current_platform

    import pipelines.engines.cpu_kernels  # noqa: F401

    if current_platform.is_cpu():
        import vllm.v1.worker.cpu_worker  # noqa: F401 - a CPU's worker is a fork, too

gc.freeze()  # the forks share what is here: their collectors need not touch it
