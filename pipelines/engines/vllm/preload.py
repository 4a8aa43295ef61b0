"""What the fork server imports before any fork: vLLM, front end and engine. Of no use to anyone else."""

from contextlib import suppress

from pipelines.processes.fork_server import collector_paused

with collector_paused(), suppress(Exception):  # who needs what cannot be imported tries again, and says why
    import vllm.v1.engine.core  # noqa: F401
    from vllm.platforms import current_platform

    import pipelines.engines.vllm.engine
    import pipelines.engines.vllm.fast_chat
    import pipelines.engines.vllm.final_output_scheduler

    if current_platform.is_cpu():
        import pipelines.engines.vllm.cpu.kernels
        import pipelines.engines.vllm.cpu.worker  # noqa: F401 - a CPU's worker is a fork, too
