"""The process that an engine answers shards in, and the pool that forks such processes for the actors of a machine.

Knows nothing of Ray.
"""
