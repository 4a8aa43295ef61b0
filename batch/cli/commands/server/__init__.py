"""Commands about a server: `serve`, and what its admin makes with the store's own credentials.

Knows nothing of HTTP: a server is its root.
"""
