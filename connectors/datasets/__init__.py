"""Dataset files: where they are, what kind they are of, and every line of them once, in bounded memory.

A row of a table is a line of JSON here. Knows nothing of what a line means, and of who asks.
"""
