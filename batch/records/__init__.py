"""What a job stores, as values: the small objects, the manifest, the parts; and the state that follows from them.

Knows formats and their checks. Reads and writes no store.
"""
