"""What is reached and which keys are set, without telling one."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from megatron_recipe.doctor import network


@pytest.mark.parametrize(
    ("endpoint", "reached", "status", "words"),
    [
        ("", ("huggingface.co", "hf-mirror.com"), "ok", "huggingface.co, hf-mirror.com answers"),
        ("", ("hf-mirror.com",), "warn", "only hf-mirror.com"),
        ("", (), "warn", "no answer within 2 s"),
        ("https://hub.example.org", ("hub.example.org",), "ok", "hub.example.org answers"),
        ("https://hub.example.org", ("huggingface.co",), "warn", "hub.example.org: no answer"),
    ],
)
def test_the_hub_or_its_mirror(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, reached: tuple[str, ...], status: str, words: str
) -> None:
    if endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr(network, "answer_date", lambda address: 1.0 if address.endswith(reached) else None)
    check = network.check_hub()
    assert check.status == status
    assert words in check.found


SECRET = "5ecret5ecret5ecret"


def answers(address: str) -> float:
    return time.time()


@pytest.mark.parametrize(
    ("key", "answer", "status", "found"),
    [
        ("", None, "ok", "does not answer, no key is set"),
        (SECRET, answers, "ok", "answers, a key is set"),
        (SECRET, None, "warn", "does not answer, a key is set"),
    ],
)
def test_wandb(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    key: str,
    answer: Callable[[str], float] | None,
    status: str,
    found: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    if answer:
        monkeypatch.setattr(network, "answer_date", answer)
    check = network.check_wandb()
    assert check.status == status
    assert check.found.startswith(found)
    assert SECRET not in str(check)


def test_wandbs_key_in_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".netrc"
    file.write_text(f"machine api.wandb.ai login user password {SECRET}\n")
    file.chmod(0o600)
    check = network.check_wandb()
    assert "a key is set" in check.found
    assert SECRET not in str(check)


@pytest.mark.parametrize(
    ("webhook", "status", "found"),
    [
        ("", "ok", "webhook not set"),
        (f"https://hooks.example.org/{SECRET}", "ok", "webhook set"),
        (f"hooks.example.org/{SECRET}", "warn", "webhook set"),
    ],
)
def test_addresses_are_never_told(monkeypatch: pytest.MonkeyPatch, webhook: str, status: str, found: str) -> None:
    monkeypatch.setenv("MEGATRON_RECIPE_WEBHOOK", webhook)
    monkeypatch.delenv("MEGATRON_RECIPE_HEARTBEAT", raising=False)
    check = network.check_messages()
    assert (check.status, check.found) == (status, f"{found}, heartbeat not set")
    assert SECRET not in str(check)
    assert "example.org" not in str(check)


@pytest.mark.parametrize(
    ("date", "status", "words"),
    [(lambda: time.time() - 5, "ok", "5 s ahead"), (lambda: time.time() + 600, "warn", "600 s behind")],
)
def test_a_clock_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, date: Callable[[], float], status: str, words: str
) -> None:
    monkeypatch.setattr(network, "answer_date", lambda address: date())
    check = network.check_clock()
    assert (check.status, check.found) == (status, words)


class Answering(http.server.BaseHTTPRequestHandler):
    """Refuses, with a date of its own."""

    def do_HEAD(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        self.send_response_only(403)
        self.send_header("Date", formatdate(1_700_000_000, usegmt=True))
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_refuses_is_reached(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(network, "ANSWER_SECONDS", 0.3)
    assert network.answer_date(server) == 1_700_000_000
    assert network.answer_date(f"{server}/slow") is None
    assert network.answer_date("http://127.0.0.1:1") is None
    assert network.answer_date("no address") is None
