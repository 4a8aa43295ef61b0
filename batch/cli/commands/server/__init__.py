"""Commands about a server: `serve`, and what its admin makes with the store's own credentials.

Knows the server by its root only, never by HTTP.
"""
