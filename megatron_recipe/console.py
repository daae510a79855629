"""What the user sees on the terminal: step lines, progress with rate and time left, one-message errors.

Progress is a rich bar on an interactive terminal and a plain line every few seconds elsewhere, so that logs of
batch systems stay readable. Everything goes to standard error, except results that a script may want to read.
"""

import io
import os
import sys
import time
from collections.abc import Buffer, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

PLAIN_LINE_EVERY_SECONDS = 10.0


def say(message: str) -> None:
    """Print one plain line to standard error."""
    print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Print one warning line to standard error."""
    say(f"warning: {message}")


def outlive_reader() -> None:
    """Let this process go on where nobody reads its output any more: what cannot be written is dropped.

    For training, whose records are in the run folder: a dead terminal or `tee`, or a full disk below a log, is no
    reason to end it. Also for what libraries print, and for the flush at exit, which would change the exit code.
    """
    sys.stdout, sys.stderr = _unread(sys.stdout), _unread(sys.stderr)


def _unread(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed before the start
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    with suppress(OSError):
        stream.flush()
    try:
        lossy = _LossyFile(stream.fileno(), "w", closefd=False)
    except OSError:  # in memory, or closed under us
        return stream
    # as under `python -u` without a buffer, whose lock a signal handler that prints would meet
    return io.TextIOWrapper(
        lossy,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _LossyFile(io.FileIO):
    """Drops what cannot be written, and tries again with what comes next."""

    def write(self, data: Buffer, /) -> int:
        """Write all of `data`, or as much as goes."""
        left = memoryview(data).cast("B")
        size = len(left)
        with suppress(OSError):
            while left:
                left = left[super().write(left) or len(left) :]  # None: a terminal that takes nothing now
        return size


@contextmanager
def progress(task: str, total: float | None, unit: str) -> Iterator[Callable[..., None]]:
    """Show progress while the block runs; it yields ``advance(amount=1, note="")``.

    `total` is in `unit`s and None where it is not known. `unit` is a plural ("documents", "MB", "steps").
    """
    if sys.stderr.isatty():
        yield from _rich_progress(task, total, unit)
    else:
        yield from _plain_progress(task, total, unit)


@contextmanager
def no_progress() -> Iterator[Callable[..., None]]:
    """Stands in for `progress` on the ranks that don't print."""
    yield lambda amount=1, note="": None


def _rich_progress(task: str, total: float | None, unit: str) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns: list[Any] = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    ]
    meter = _Meter(total, unit)
    latest_note = ""
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        handle = bar.add_task(task, total=total, amount="", note="")

        def advance(amount: float = 1, note: str = "") -> None:
            nonlocal latest_note
            meter.done += amount
            latest_note = note or latest_note
            bar.update(handle, advance=amount, amount=meter.text(), note=latest_note)

        yield advance


def _plain_progress(task: str, total: float | None, unit: str) -> Iterator[Callable[..., None]]:
    meter = _Meter(total, unit)
    printed, latest_note = time.monotonic(), ""

    def advance(amount: float = 1, note: str = "") -> None:
        nonlocal printed, latest_note
        meter.done += amount
        latest_note = note or latest_note
        if time.monotonic() - printed >= PLAIN_LINE_EVERY_SECONDS:
            printed = time.monotonic()
            say("  ".join(part for part in (f"{task}:", meter.text(), meter.left(), latest_note) if part))

    yield advance


class _Meter:
    """Amount done, its rate, and the time left."""

    def __init__(self, total: float | None, unit: str) -> None:
        self.total, self.unit, self.done, self.started = total, unit, 0.0, time.monotonic()

    def rate(self) -> float:
        return self.done / max(time.monotonic() - self.started, 1e-9)

    def text(self) -> str:
        of_total = f"/{self.total:,.0f}" if self.total else ""
        return f"{self.done:,.0f}{of_total} {self.unit}, {self.rate():,.1f}/s"

    def left(self) -> str:
        if not self.total or not self.done:
            return ""
        seconds = max(self.total - self.done, 0) / self.rate()
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"
