"""Processes of this machine: forks that have their imports done, what ends with whom, and what each may take.

Knows nothing of jobs but their names.
"""
