"""Whether tests run at their full size: `make test-long`, or BATCHCTL_TESTS=long before a pytest of some of them."""

import os

import pytest

LONG = os.environ.get("BATCHCTL_TESTS") == "long"

long_only = pytest.mark.skipif(not LONG, reason="make test-long runs it")
"""For a test that has no small size."""
