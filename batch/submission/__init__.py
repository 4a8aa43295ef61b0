"""How a job comes to be: put into a workspace, made of another one's failed rows, checked against changed inputs.

Starts no process and no engine.
"""
