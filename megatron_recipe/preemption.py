"""Asked to stop (Ctrl-C, SIGTERM of a scheduler or a spot machine): finish the step, save, leave."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from megatron_recipe import console


class StopRequest:
    """Remembers the signal that asked the run to stop; false until one came."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: note the first request; a second Ctrl-C stops at once."""
        if self.signal is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            console.say(
                f"{signal.Signals(number).name}: saving a checkpoint after this step, then stopping (Ctrl-C again: now)"
            )
        self.signal = signal.Signals(number)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Handle SIGINT and SIGTERM inside the block; the handlers before it come back after it."""
    request = StopRequest()
    before = {number: signal.signal(number, request.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
