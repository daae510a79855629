"""Tell people, and a watchdog, how a run goes: to a chat's webhook and to a heartbeat address.

Both addresses are secrets: whoever has one can write to the chat. They are read from environment variables and appear
in no file, no warning and no error. Nothing here delays or breaks training: requests are made in threads of their own.
"""

import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from megatron_recipe import console
from megatron_recipe.config import MessagesConfig
from megatron_recipe.messages.formats import Request, Webhook, kind_of
from megatron_recipe.messages.outbox import Outbox
from megatron_recipe.messages.texts import TITLES, message_text

__all__ = ["Messenger", "message_problems"]

WEBHOOK = "MEGATRON_RECIPE_WEBHOOK"
WEBHOOK_SECRET = "MEGATRON_RECIPE_WEBHOOK_SECRET"
"""Optional: the key with which DingTalk and Feishu robots want their messages signed."""
HEARTBEAT = "MEGATRON_RECIPE_HEARTBEAT"
REPEAT_SECONDS = 60.0
"""Between two messages of one event: WeChat Work and DingTalk refuse more than 20 a minute, and people read fewer."""
ALWAYS = ("start", "resume", "end", "stopped", "failed", "diagnosis")


def message_problems(config: MessagesConfig, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """What is wrong with the section and its variables, for validation; names variables and never their values."""
    if config.webhook not in ("off", "auto") and not environment.get(WEBHOOK):
        yield (
            f"messages.webhook={config.webhook} needs the robot's address in the environment variable {WEBHOOK}, which "
            "is not set; export it, or use messages.webhook=auto"
        )
    for variable in (WEBHOOK, HEARTBEAT):
        address = environment.get(variable, "")
        if address and not _is_web_address(address):
            yield f"the address in {variable} must begin with https:// or http:// and name a host; export it anew"


class Messenger:
    """Sends messages and heartbeats of one run; only the first rank has one.

    Args:
        run_name: stands at the head of each message.
        environment: where the addresses are read from.
    """

    def __init__(self, config: MessagesConfig, run_name: str, environment: Mapping[str, str] = os.environ) -> None:
        self.config, self.run_name = config, run_name
        self.webhook: Webhook | None = None
        self.outbox: Outbox | None = None
        address = environment.get(WEBHOOK, "")
        if config.webhook != "off" and _is_web_address(address):
            kind = kind_of(address) if config.webhook == "auto" else config.webhook
            self.webhook = Webhook(kind, address, environment.get(WEBHOOK_SECRET, ""))
            self.outbox = Outbox(f"the {kind} webhook", console.warn)
        heartbeat = environment.get(HEARTBEAT, "")
        self.heartbeat = heartbeat if _is_web_address(heartbeat) else ""
        self.pulse = Outbox("the heartbeat address", console.warn, attempts=1) if self.heartbeat else None
        self.next_beat = time.monotonic()
        self.next_summary = next_hour(datetime.now(), config.daily_summary_hour)
        self.sent_at: dict[str, float] = {}
        self.left_out: dict[str, int] = {}

    def send(self, event: str, facts: Mapping[str, Any]) -> None:
        """Queue a message, if `event` is one that people are told of (see `texts.TITLES`); returns at once.

        Of an event that comes more than once a minute the first is sent; the next one says how many were left out.
        """
        if self.webhook is None or self.outbox is None or event not in TITLES[self.config.language]:
            return
        now = time.monotonic()
        if event not in ALWAYS and now - self.sent_at.get(event, -REPEAT_SECONDS) < REPEAT_SECONDS:
            self.left_out[event] = self.left_out.get(event, 0) + 1
            return
        self.sent_at[event] = now
        facts = {**facts, "left_out": self.left_out.pop(event, None)}
        text = message_text(self.run_name, event, facts, self.config.language)
        self.outbox.put(self.webhook.request(self.run_name, event, facts, text))

    def beat(self) -> None:
        """Call the heartbeat address, if its time has come and the last call is over; returns at once."""
        now = time.monotonic()
        if self.pulse is None or now < self.next_beat or self.pulse.is_busy():
            return
        self.next_beat = now + self.config.heartbeat_every_seconds
        self.pulse.put(_get(self.heartbeat))

    def daily(self, summary: Mapping[str, Any]) -> None:
        """Send `summary` as the message `daily` if its hour has come since the last one; cheap to call at each step."""
        now = datetime.now()
        if now >= self.next_summary:
            self.next_summary = next_hour(now, self.config.daily_summary_hour)
            self.send("daily", summary)

    def close(self, timeout: float = 10.0) -> None:
        """Wait until what is queued has been sent, `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        for outbox in (self.outbox, self.pulse):
            if outbox is not None:
                outbox.close(deadline - time.monotonic())


def next_hour(now: datetime, hour: int) -> datetime:
    """The first time after `now` at which the clock shows `hour`:00."""
    today = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


def _is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _get(address: str) -> Request:
    return Request("GET", address, None, lambda answer: None)
