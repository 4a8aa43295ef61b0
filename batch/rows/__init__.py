"""One line of a dataset becomes a request, or the failure that it is.

Knows endpoints, templates and ids. Knows nothing of files, shards and engines.
"""
