"""Processes that end with the one that started them. Light to import: a spawned process imports it before its work."""

import ctypes
import signal

PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""What asks a run to save and stop. SIGHUP is a terminal that closes."""


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends, also by a kill: nobody would wait for it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def ignore_stop_signals() -> None:
    """A terminal and a scheduler send them to the whole group; the parent heeds them, and waits for this process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def serve_parent_only() -> None:
    """Both: how a process begins that works for its parent alone."""
    die_with_parent()
    ignore_stop_signals()
