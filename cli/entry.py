"""Where `claw` begins: until its modules are loaded, Ctrl-C just ends it."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as in a background job
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from cli.main import main

__all__ = ["main"]
