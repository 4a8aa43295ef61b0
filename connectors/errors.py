"""Errors of the connectors. Knows nothing of who handles them.

Exception
├── StoreError                  the store refused or failed
│   ├── NotFound                no such object, file, bucket or match
│   ├── Changed                 the object is not the version that was planned
│   ├── Unavailable             transient (5xx, timeout, reset); it stood until the retry budget was spent
│   ├── NoSpace                 the store has no room left
│   ├── ConditionalWritesIgnored  the store cannot create-if-absent: unsafe for jobs
│   └── Forbidden               no permission, or a key that would leave the root of its store
└── InputError                  the user named something that cannot be read
    ├── BadUri                  (also a ValueError)
    └── UnsupportedFormat
"""


class StoreError(Exception):
    """A store refused or failed; the message names the object."""


class NotFound(StoreError):
    """The object, bucket or pattern has nothing behind it."""


class Changed(StoreError):
    """The object differs from the version that was asked for."""


class Unavailable(StoreError):
    """The store did not answer properly, also after retries; trying later may help."""


class NoSpace(StoreError):
    """The disk is full, or a quota of it is used up."""


class ConditionalWritesIgnored(StoreError):
    """The store overwrites where it was asked to create only."""


class Forbidden(StoreError):
    """Permission denied, or a key that leaves the root of its store."""


class InputError(Exception):
    """What the user named cannot be read as input."""


class BadUri(InputError, ValueError):
    """The text is not an address that we accept."""


class UnsupportedFormat(InputError):
    """The file is of a kind that we cannot read, or does not hold what its name says."""
