"""How a job comes to be, from every face alike: checked, stored, made of another one's failed rows.

Starts no process and no engine.
"""
