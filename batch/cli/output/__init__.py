"""How things are shown: progress, lists, the summary of a job, and how an attempt ended.

Knows no flag but `--format`, and starts nothing.
"""
