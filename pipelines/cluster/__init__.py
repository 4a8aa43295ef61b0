"""The one folder that knows Ray: how a cluster starts or is joined, and the graph that hands out shards.

Knows nothing of rows, and of what an engine does with a shard.
"""
