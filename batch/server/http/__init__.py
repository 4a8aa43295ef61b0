"""The faces of the server on HTTP. FastAPI and uvicorn are imported here only."""
