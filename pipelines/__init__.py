"""The data plane: the worker of a job, the Ray graph, and the engines. `run` is the page to read first.

The layers, from the top: worker, run, startup; attempt and cluster; engine_process; shards; engines; processes.
"""
