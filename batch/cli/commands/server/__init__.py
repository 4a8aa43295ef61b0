"""Commands about a server: `serve`, and what its admin makes with the store's own credentials.

Knows no HTTP, but for `serve`: a server is its root.
"""
