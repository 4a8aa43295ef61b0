"""A job at its output: its objects and its parts, who may run it, and what of it still stands.

Everything is created, nothing is overwritten but a heartbeat. Knows nothing of workspaces and of processes.
"""
