"""What holds for all tests: signals are those of a command in the foreground."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts background jobs so. Dagster takes over for SIGTERM what holds for SIGINT, and
    # then no process that a test starts can be ended.
    signal.signal(signal.SIGINT, signal.default_int_handler)
