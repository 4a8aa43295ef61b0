"""What a user asked for: the job spec, its inference parameters, and the arguments of its engine.

Knows which values are right, and their digest. Reads no file and no store.
"""
