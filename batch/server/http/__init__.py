"""The faces of the server on HTTP. FastAPI is imported here only. Knows nothing of stores and workers."""
