"""Engines: what turns a request into a response body. A new one is one file here and one case in `registry`.

Knows nothing of shards, stores and Ray.
"""
