"""What the user sees on the terminal: step lines, progress with rate and time left, one-message errors.

Progress is a rich bar on an interactive terminal and a plain line every few seconds elsewhere, so that logs of
batch systems stay readable. Everything goes to standard error, except results that a script may want to read.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PLAIN_LINE_EVERY_SECONDS = 10.0


def say(message: str) -> None:
    """Print one plain line to standard error."""
    print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Print one warning line to standard error."""
    say(f"warning: {message}")


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
