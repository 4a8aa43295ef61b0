"""Which lines of which files a job runs, in which shards; and what can be seen of them before an engine starts.

Reads inputs and writes nothing. Knows nothing of attempts and of where a plan is stored.
"""
