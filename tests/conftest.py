"""What every test shares: the stores' fixtures, and an interrupt that the commands under test can hear."""

import signal

pytest_plugins = ["stores"]

# A shell starts what runs in its background with SIGINT ignored, and every child would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
