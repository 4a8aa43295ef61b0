"""Objects behind an address, on every kind of store alike: six verbs, retries, create if absent.

Knows how stores differ. Knows nothing of what an object means, and nothing of lines.
"""
