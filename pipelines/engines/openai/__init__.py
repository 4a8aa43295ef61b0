"""Any OpenAI-compatible endpoint as an engine: what is asked, and what its replies mean.

Knows nothing of shards, stores or Ray.
"""
