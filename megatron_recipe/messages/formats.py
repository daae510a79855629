"""What each chat service wants to be sent, and how it says that it did not like it.

Plain text everywhere: it looks the same in all of their apps, also in the WeChat plug-in of WeChat Work. Documented by
WeChat Work (developer.work.weixin.qq.com/document/path/91770), Feishu (open.feishu.cn, custom bot), DingTalk
(open.dingtalk.com, custom robot) and Slack (docs.slack.dev, incoming webhooks).
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit

HOSTS = {
    "qyapi.weixin.qq.com": "wecom",
    "open.feishu.cn": "feishu",
    "open.larksuite.com": "feishu",
    "oapi.dingtalk.com": "dingtalk",
    "api.dingtalk.com": "dingtalk",
    "hooks.slack.com": "slack",
    "hooks.slack-gov.com": "slack",
}
MAX_BYTES = 2000
"""Of a text: WeChat Work takes 2,048, the others more."""
BUSY_CODES = {"wecom": (45009, 45033), "dingtalk": (130101, 130102), "feishu": (9499, 11232)}
"""Too many messages a minute: worth another try."""


@dataclass(frozen=True)
class Answer:
    """What a service answered."""

    status: int
    body: str


@dataclass(frozen=True)
class Refusal:
    """Why a message did not arrive. `text` holds no part of the address."""

    text: str
    is_passing: bool


@dataclass(frozen=True)
class Request:
    """One HTTP request; `repr` does not show its address."""

    method: str
    address: str
    body: dict[str, Any] | None
    judge: Callable[[Answer], Refusal | None]

    def __repr__(self) -> str:
        return f"Request({self.method})"


@dataclass(frozen=True, repr=False)
class Webhook:
    """A robot of a chat service: its kind, its address, and the key that its messages are signed with, or none."""

    kind: str
    address: str
    signing_key: str = ""

    def request(self, run_name: str, event: str, facts: Mapping[str, Any], text: str) -> Request:
        """The request that brings a message there. `generic` gets the facts as JSON, the chats get the text."""
        text = cut(text)
        address, body = self.address, self._body(run_name, event, facts, text)
        if self.signing_key and self.kind == "feishu":
            stamp = str(int(time.time()))
            body |= {"timestamp": stamp, "sign": feishu_signature(stamp, self.signing_key)}
        if self.signing_key and self.kind == "dingtalk":
            stamp = str(round(time.time() * 1000))
            signature = quote_plus(dingtalk_signature(stamp, self.signing_key))
            address += f"{'&' if urlsplit(address).query else '?'}timestamp={stamp}&sign={signature}"
        return Request("POST", address, body, self.judge)

    def _body(self, run_name: str, event: str, facts: Mapping[str, Any], text: str) -> dict[str, Any]:
        if self.kind in ("wecom", "dingtalk"):
            return {"msgtype": "text", "text": {"content": text}}
        if self.kind == "feishu":
            return {"msg_type": "text", "content": {"text": text}}
        if self.kind == "slack":
            # its three control characters: <!channel> would call everybody
            return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
        known = {name: value for name, value in facts.items() if value is not None}
        moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        return {"run": run_name, "event": event, "time": moment, "facts": known, "text": text}

    def judge(self, answer: Answer) -> Refusal | None:
        """Why the service did not take the message; None where it did. The Chinese services refuse with status 200."""
        if answer.status == 429 or answer.status >= 500:
            return Refusal(f"HTTP {answer.status}", is_passing=True)
        if answer.status >= 300:
            return Refusal(f"HTTP {answer.status} {self._redacted(answer.body)}".strip(), is_passing=False)
        if self.kind not in BUSY_CODES:
            return None
        try:
            content = json.loads(answer.body)
            code = content.get("errcode", content.get("code", 0))
            text = content.get("errmsg", content.get("msg", ""))
        except (ValueError, AttributeError):
            return Refusal("an answer that is not from that service", is_passing=True)
        if not code:
            return None
        return Refusal(f"error {code}: {self._redacted(str(text))}", is_passing=code in BUSY_CODES[self.kind])

    def _redacted(self, text: str) -> str:
        """The service's own words, without what they may repeat of the address."""
        parts = urlsplit(self.address)
        secrets = [self.signing_key, self.address, *(value for _, value in parse_qsl(parts.query))]
        secrets += [segment for segment in parts.path.split("/") if len(segment) > 7]
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "…")
        return " ".join(text.split())[:200]


def kind_of(address: str) -> str:
    """The kind of webhook at `address`, by its host."""
    return HOSTS.get(urlsplit(address).hostname or "", "generic")


def feishu_signature(timestamp: str, key: str) -> str:
    """Base64 of the HMAC-SHA256 of nothing under `timestamp`, a line break and the key; timestamp in seconds."""
    return _base64_hmac(f"{timestamp}\n{key}", "")


def dingtalk_signature(timestamp: str, key: str) -> str:
    """Base64 of the HMAC-SHA256 of `timestamp`, a line break and the key under the key; timestamp in milliseconds."""
    return _base64_hmac(key, f"{timestamp}\n{key}")


def _base64_hmac(key: str, message: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest()).decode()


def cut(text: str) -> str:
    """`text` within MAX_BYTES of UTF-8, with … where something is missing."""
    data = text.encode()
    return text if len(data) <= MAX_BYTES else data[: MAX_BYTES - 3].decode(errors="ignore") + "…"
