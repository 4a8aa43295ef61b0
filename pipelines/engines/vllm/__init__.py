"""vLLM as an engine, and the one folder that imports it, with every place that reaches into it.

Knows nothing of shards and of Ray.
"""
