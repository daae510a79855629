"""Requests made by a thread, one after the other, so that nobody waits for them."""

import logging
import queue
import threading
import time
from collections.abc import Callable

from megatron_recipe.messages.formats import Answer, Refusal, Request

MAX_WAITING = 100
"""Requests that wait behind a service that hangs; more are dropped."""
MAX_PAUSE_SECONDS = 60.0


class Outbox:
    """Sends requests in the background, with a time-out, and again after a passing fault.

    Args:
        name: of the other side, in warnings; never its address.
        warn: takes the one warning of a row of failures.
        attempts: at one request.
        timeout_seconds: of connecting, and of waiting for the answer.
        pause_seconds: before the second attempt; four times as long before each further one.
    """

    def __init__(
        self,
        name: str,
        warn: Callable[[str], None],
        *,
        attempts: int = 4,
        timeout_seconds: float = 10.0,
        pause_seconds: float = 2.0,
    ) -> None:
        self.name, self.warn, self.attempts = name, warn, attempts
        self.timeout_seconds, self.pause_seconds = timeout_seconds, pause_seconds
        self.waiting: queue.Queue[Request | None] = queue.Queue(MAX_WAITING)
        self.has_failed = self.is_working = False
        self.thread = threading.Thread(target=self._work, name="messages", daemon=True)
        self.thread.start()

    def put(self, request: Request) -> None:
        """Queue a request; dropped where a hundred wait already."""
        try:
            self.waiting.put_nowait(request)
        except queue.Full:
            self._note(Refusal(f"{MAX_WAITING} messages wait already", is_passing=True))

    def is_busy(self) -> bool:
        """Whether a request waits or is under way."""
        return self.is_working or not self.waiting.empty()

    def close(self, timeout: float) -> None:
        """Send what is queued, and end; gives up after `timeout` seconds."""
        try:
            self.waiting.put_nowait(None)
        except queue.Full:
            return
        self.thread.join(max(0.0, timeout))

    def _work(self) -> None:
        # both name each request's address at level INFO or DEBUG
        for library in ("httpx2", "httpcore2"):
            logging.getLogger(library).setLevel(logging.WARNING)
        while (request := self.waiting.get()) is not None:
            self.is_working = True
            self._note(self._deliver(request))
            self.is_working = False

    def _deliver(self, request: Request) -> Refusal | None:
        """Try until it is taken, refused for good, or tried often enough."""
        pause = self.pause_seconds
        for attempt in range(1, self.attempts + 1):
            refusal, retry_after = self._try(request)
            if refusal is None or not refusal.is_passing or attempt == self.attempts:
                break
            time.sleep(min(max(pause, retry_after), MAX_PAUSE_SECONDS))
            pause *= 4
        return refusal

    def _try(self, request: Request) -> tuple[Refusal | None, float]:
        """One attempt: why it failed, and how long the service wants to be left alone."""
        import httpx2

        try:
            answer = httpx2.request(request.method, request.address, json=request.body, timeout=self.timeout_seconds)
            text = answer.text
        except Exception as error:  # of any library below; its text may name the address, its type does not
            return Refusal(type(error).__name__, is_passing=True), 0.0
        seconds = answer.headers.get("retry-after", "")
        refusal = request.judge(Answer(answer.status_code, text))
        return refusal, float(seconds) if seconds.isdigit() else 0.0

    def _note(self, refusal: Refusal | None) -> None:
        """Warn of the first failure in a row."""
        if refusal is not None and not self.has_failed:
            self.warn(f"{self.name} took no message ({refusal.text}); training goes on, and the next one is tried")
        self.has_failed = refusal is not None
