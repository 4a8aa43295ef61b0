"""A module for each command of batchctl: from its words to calls of the library, and the answer printed.

Holds no rules of jobs.
"""
