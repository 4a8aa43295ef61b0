"""The datasets and jobs of a group of people, under one URI: ids, pointers, filters and pages of lists.

Knows where a job's output is, and nothing of what happens there.
"""
