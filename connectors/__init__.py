"""Connectors: bytes and lines in stores. Knows nothing of jobs, Ray or vLLM.

`uri` parses addresses, `registry` opens the `store` behind one (`local`, `memory`, `cloud`), `inputs` finds dataset
files and reads their `lines` (through `compression` and `tables`).
"""
