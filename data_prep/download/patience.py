"""When a request is tried again, and after how long."""

import datetime
import email.utils
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event

from megatron_recipe import console
from megatron_recipe.errors import MachineError

PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed (time-outs, too early, too many requests, server errors)."""

NOTICED_SECONDS = 5.0
"""A wait this long is said: the progress seems to stand still."""


class PassingError(Exception):
    """A request failed in a way that may pass: the connection was cut, or the server is busy.

    Args:
        headers: of the answer, where there was one; they may say when to come back.
    """

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers or {}


class Stopped(Exception):
    """The command is ending: what waits or transfers gives up at once."""


@dataclass(frozen=True)
class Patience:
    """How failures are met. Those after which new bytes came start the count again."""

    max_failures: int = 8
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    """Doubled waits end here; what the server asks for is not cut."""
    longest_asked_seconds: float = 3600.0
    """A server that asks for more is an error: the user decides whether to come back."""
    stall_seconds: float = 60.0
    """Without a byte for this long, a connection counts as cut."""

    def after(self, failures: int, error: PassingError, what: str, stop: Event) -> None:
        """Wait before the next try.

        Raises:
            MachineError: there were too many failures, or the server asks for too long a wait.
            Stopped: the command is ending.
        """
        if failures > self.max_failures:
            raise MachineError(
                f"{what}: {error} ({failures} times in a row); check the connection or take a --mirror "
                "(hf-mirror, from China), then run the same command again: it continues"
            )
        asked = asked_seconds(error.headers)
        if asked is not None and asked > self.longest_asked_seconds:
            raise MachineError(f"{what}: {error}, and asks to wait {asked / 60:.0f} minutes; run the command then")
        doubled = min(self.first_wait_seconds * 2 ** (failures - 1), self.longest_wait_seconds)
        seconds = doubled if asked is None else asked
        if seconds >= NOTICED_SECONDS:
            console.say(f"{what}: {error}; trying again in {seconds:.0f} s")
        if stop.wait(seconds):
            raise Stopped

    def call[T](self, request: Callable[[], T], what: str, stop: Event) -> T:
        """`request()`, tried again after each PassingError."""
        failures = 0
        while True:
            try:
                return request()
            except PassingError as error:
                failures += 1
                self.after(failures, error, what, stop)


LISTING = Patience(max_failures=3)
"""For the first words with a hub: one that cannot be reached from here should be said within seconds."""


def asked_seconds(headers: Mapping[str, str]) -> float | None:
    """The wait that an answer asks for: Retry-After (seconds or a date), or the `t=` of Hugging Face's RateLimit."""
    value = headers.get("retry-after", headers.get("Retry-After", "")).strip()
    if value.isdigit():
        return float(value)
    if value:
        try:
            until = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        return max((until - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)
    limit = headers.get("ratelimit", "")
    rest = re.search(r"\br=0\b.*\bt=(\d+)", limit)
    return float(rest[1]) if rest else None
