"""The Python interface, by the names of Fireworks' Build SDK: `Dataset` and `BatchInferenceJob`.

Knows nothing of terminals.
"""
