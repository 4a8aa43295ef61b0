"""The Python interface: `Dataset` and `BatchInferenceJob`, by the names of Fireworks' Build SDK, and `run`.

Knows nothing of terminals.
"""
