"""Reasons to stop before the end: a signal, or the time limit. A checkpoint is saved first; the next start goes on."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from megatron_recipe import console
from megatron_recipe.parent_death import SIGNALS


class StopRequest:
    """Remembers what asked the run to stop; false until something did.

    Args:
        started: `time.monotonic()` at the beginning of the process.
        limit_seconds: of `train.time_limit_seconds`; 0 is none.
    """

    def __init__(self, started: float, limit_seconds: float) -> None:
        self.signal: signal.Signals | None = None
        self.reason: str | None = None
        self.started, self.limit_seconds = started, limit_seconds
        self.was_interrupted = False

    def __bool__(self) -> bool:
        return self.reason is not None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: note the first request; a second Ctrl-C stops at once."""
        if number == signal.SIGINT:
            if self.was_interrupted:  # by the terminal; torchrun sends a SIGTERM of its own after it
                raise KeyboardInterrupt
            self.was_interrupted = True
        if self.signal is None:
            console.say(
                f"{signal.Signals(number).name}: saving a checkpoint after this step, then stopping (Ctrl-C again: now)"
            )
        self.signal = signal.Signals(number)
        self.reason = self.signal.name

    def look_at_clock(self, reserve_seconds: float) -> None:
        """Ask to stop if the time limit leaves no more than `reserve_seconds`: a step, and a checkpoint."""
        left = self.limit_seconds - (time.monotonic() - self.started)
        if self.limit_seconds and self.reason is None and left <= reserve_seconds:
            console.say(f"time limit of {self.limit_seconds:,.0f} s: saving a checkpoint, then stopping")
            self.reason = "time limit"


def heeded_signals() -> list[signal.Signals]:
    """`SIGNALS` without those that this process was started to ignore, as `nohup` does with SIGHUP."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def stop_on_signals(request: StopRequest) -> Iterator[StopRequest]:
    """Handle `SIGNALS` inside the block; the handlers before it come back after it."""
    before = {number: signal.signal(number, request.receive) for number in heeded_signals()}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
