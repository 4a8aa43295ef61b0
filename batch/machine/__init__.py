"""This machine as a job meets it: its cores and GPUs, private folders, the worker's process, and leftovers.

Knows nothing of rows and of what a worker does.
"""
