"""Ends a process that makes no progress, and says where each of its threads stood.

A rank that waits for another one forever, or for a disk, would hold the machine until somebody looks. NCCL and gloo
give up their own calls after `parallel.timeout_seconds`, but then only the waiting ranks tell where they stood. This
watch counts from the last step on, so with the same time-out it is there first, on all ranks. The exit code of 1 lets
torchrun end the other ranks and start all of them anew.

Two watches look on. A thread writes the stacks to a file of the run folder. But a thread needs Python's lock, and a
process whose GPU hangs may keep it, blocked where it launches the next kernel: so faulthandler's watch, which needs no
lock, follows a little later and writes to stderr.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LATER = 1.2
"""The watch without a lock ends the process after so many times the time-out, and `LATER_SECONDS` more."""
LATER_SECONDS = 2.0


class HangWatch:
    """A thread that ends the process when no `beat` came for `timeout_seconds`.

    It counts from the first `beat` on, so that a start may take its time.

    Args:
        folder: of the run; the stacks are written to ``hang_rank<RANK>.txt`` in it.
        rank: of this process among all.
        timeout_seconds: longest time between two beats.
    """

    def __init__(self, folder: Path, rank: int, timeout_seconds: float) -> None:
        self.path = folder / f"hang_rank{rank}.txt"
        self.rank = rank
        self.timeout_seconds = timeout_seconds
        self._looks_every = min(1.0, timeout_seconds / 10)
        self._last: float | None = None
        self._pauses = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang watch", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Call once a step: the process makes progress."""
        self._last = time.monotonic()
        if not self._pauses:
            faulthandler.dump_traceback_later(
                self.timeout_seconds * LATER + LATER_SECONDS, file=sys.__stderr__ or 2, exit=True
            )

    @contextmanager
    def pause(self) -> Iterator[None]:
        """For work that may rightly take longer than a step, such as a first save to a slow disk."""
        self._pauses += 1
        faulthandler.cancel_dump_traceback_later()
        try:
            yield
        finally:
            self._pauses -= 1
            if self._last is not None:
                self.beat()

    def close(self) -> None:
        """End the watch. The process may take its time from here on."""
        self._closed.set()
        faulthandler.cancel_dump_traceback_later()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._looks_every):
            last = self._last
            if last is None or self._pauses:
                continue
            if time.monotonic() - last > self.timeout_seconds:
                self._end()

    def _end(self) -> None:
        try:
            with self.path.open("w", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} rank {self.rank}, process {os.getpid()}\n")
                file.flush()
                faulthandler.dump_traceback(file, all_threads=True)
            where = f"its stacks are in {self.path}"
        except OSError as error:
            faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
            where = f"its stacks are above ({self.path}: {error.strerror})"
        sys.stderr.write(
            f"rank {self.rank} made no progress for {self.timeout_seconds:g} s (parallel.timeout_seconds) and is "
            f"ended; {where}; the same command continues from the newest checkpoint\n"
        )
        sys.stderr.flush()
        # torchrun ends the others as soon as one is gone: leave them the time to write theirs
        time.sleep(2 * self._looks_every)
        # no clean-up: that would wait for the collective that hangs
        os._exit(1)
