"""A server for the clients that people have: accounts, keys, models, files and jobs under one URI, and their scheduler.

Every account is a workspace. No database: what is acknowledged stands in the store. Knows nothing of engines.
"""
