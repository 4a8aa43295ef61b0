"""The flags that commands share, the values that they take, and what a shell completes of them.

Knows no command.
"""
