"""What holds for every test."""

import signal

# Started in the background by a shell, this process ignores SIGINT, and so would every command that a test starts and
# then interrupts: what is ignored stays ignored over exec, what is handled does not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
