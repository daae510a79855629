"""Messages reach a webhook in its format, never hold training up, and never show the address."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from webhook_server import Service

from megatron_recipe import messages
from megatron_recipe.config import MessagesConfig
from megatron_recipe.messages import Messenger, message_problems, next_hour, outbox

SECRET = "tops3cret-t0ken-0123456789"
FACTS = {"step": 1200, "loss": 2.34567, "reason": None, "mfu_full": 0.5871}


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(f"/hook/{SECRET}?key={SECRET}") as service:
        yield service


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Of the sender: fractions of a second instead of seconds."""

    def quick(name, warn, *, attempts=4):
        return outbox.Outbox(name, warn, attempts=attempts, timeout_seconds=0.3, pause_seconds=0.01)

    monkeypatch.setattr(messages, "Outbox", quick)


def messenger(service: Service, **settings: Any) -> Messenger:
    return Messenger(MessagesConfig(**settings), "gpt_1b", {messages.WEBHOOK: service.address})


def test_a_message_has_its_facts(service):
    sender = messenger(service, webhook="generic")
    sender.send("start", FACTS)
    sender.close()
    ((method, path, body),) = service.requests
    assert (method, path) == ("POST", f"/hook/{SECRET}?key={SECRET}")
    assert (body["run"], body["event"], body["facts"]) == (
        "gpt_1b",
        "start",
        {"step": 1200, "loss": 2.34567, "mfu_full": 0.5871},
    )
    assert body["text"] == "[megatron-recipe] gpt_1b: training starts\nstep: 1,200\nloss: 2.346\nMFU (full): 58.7%"


def test_each_service_gets_its_format(service):
    for kind in ("wecom", "feishu", "dingtalk", "slack"):
        service.answers = [(200, "ok" if kind == "slack" else '{"errcode": 0, "errmsg": "ok", "code": 0}')]
        sender = messenger(service, webhook=kind, language="zh")
        sender.send("rollback", {"to_step": 40, "reason": "loss <b> & more"})
        sender.close()
    text = "[megatron-recipe] gpt_1b：已回滚到检查点\n回到第几步：40\n原因：loss <b> & more"
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert [body for _, _, body in service.requests] == [
        {"msgtype": "text", "text": {"content": text}},
        {"msg_type": "text", "content": {"text": text}},
        {"msgtype": "text", "text": {"content": text}},
        {"text": escaped},
    ]


@pytest.mark.parametrize(
    "answers",
    [
        [(500, "down"), (503, "busy"), (200, '{"errcode": 0}')],
        [(429, "slow down"), (200, '{"errcode": 0}')],
        [("cut", ""), (200, '{"errcode": 0}')],
        [("hang", 1.0), (200, '{"errcode": 0}')],
        [(200, '{"errcode": 45009, "errmsg": "api freq out of limit"}'), (200, '{"errcode": 0}')],
    ],
)
def test_a_passing_fault_is_tried_again(service, answers, capsys):
    service.answers = list(answers)
    sender = messenger(service, webhook="wecom")
    sender.send("start", FACTS)
    sender.close()
    assert len(service.requests) == len(answers)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("answer", "words", "requests"),
    [
        ((500, "down"), "HTTP 500", 4),
        ((404, f"no robot at /hook/{SECRET}"), "HTTP 404 no robot at /hook/…", 1),
        ((200, json.dumps({"errcode": 93000, "errmsg": f"invalid webhook url {SECRET}"})), "error 93000", 1),
        ((200, "<html>a proxy's page</html>"), "not from that service", 4),
        (("hang", 1.0), "Timeout", 4),
        (("cut", ""), "Error", 4),
    ],
)
def test_a_lasting_fault_is_one_warning_without_the_address(service, answer, words, requests, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    service.answers = [answer]
    sender = messenger(service, webhook="wecom")
    sender.send("start", FACTS)
    sender.send("end", FACTS)
    sender.close()
    told = capsys.readouterr()
    assert told.err.count("the wecom webhook took no message") == 1
    assert words in told.err
    assert len(service.requests) == 2 * requests
    for text in (
        told.out,
        told.err,
        caplog.text,
        repr(sender.webhook),
        repr(sender.webhook.request("r", "e", {}, "t")),
    ):
        assert SECRET not in text
        assert "127.0.0.1" not in text


def test_a_service_that_is_not_there_is_one_warning(capsys, caplog):
    caplog.set_level(logging.DEBUG)
    sender = Messenger(MessagesConfig(), "run", {messages.WEBHOOK: f"http://127.0.0.1:9/{SECRET}"})
    sender.send("start", FACTS)
    sender.close()
    told = capsys.readouterr().err
    assert "took no message (ConnectError)" in told
    assert SECRET not in told + caplog.text


def test_training_never_waits(service):
    service.answers = [("hang", 5.0)]
    environment = {messages.WEBHOOK: service.address, messages.HEARTBEAT: service.address}
    sender = Messenger(MessagesConfig(), "run", environment)
    began = time.perf_counter()
    for step in range(1000):
        sender.send("start", {"step": step})
        sender.beat()
        sender.daily({"step": step})
    assert time.perf_counter() - began < 0.5
    began = time.perf_counter()
    sender.close(timeout=0.5)
    assert time.perf_counter() - began < 1.0


def test_of_a_row_of_spikes_the_first_is_told_at_once(service, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(messages.time, "monotonic", lambda: now[0])
    sender = messenger(service)
    for step in range(5):
        sender.send("spike", {"step": step})
        sender.send("checkpoint_saved", {"step": step})  # nobody is told of these
        now[0] += 10
    now[0] += 60
    sender.send("spike", {"step": 9})
    service.wait_for(2)
    assert [body["facts"] for _, _, body in service.requests] == [{"step": 0}, {"step": 9, "left_out": 4}]


def test_the_heart_beats_at_its_rate(service, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(messages.time, "monotonic", lambda: now[0])
    sender = Messenger(MessagesConfig(heartbeat_every_seconds=300), "run", {messages.HEARTBEAT: service.address})
    for second in range(0, 900, 10):
        now[0] = 1000.0 + second
        sender.beat()
        service.wait_for(second // 300 + 1)
        while sender.pulse.is_busy():
            time.sleep(0.001)
    assert [(method, body) for method, _, body in service.requests] == [("GET", None)] * 3


def test_calls_do_not_pile_up_behind_a_watchdog_that_hangs(service, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(messages.time, "monotonic", lambda: now[0])
    service.answers = [("hang", 0.2)]
    sender = Messenger(MessagesConfig(heartbeat_every_seconds=1), "run", {messages.HEARTBEAT: service.address})
    sender.beat()
    service.wait_for(1)
    for _ in range(10):
        now[0] += 10
        sender.beat()
    assert sender.pulse.waiting.empty()


def test_a_summary_a_day(service, monkeypatch):
    class Now(datetime):
        moment = datetime(2026, 11, 24, 8, 0)

        @classmethod
        def now(cls, tz=None):
            return cls.moment

    monkeypatch.setattr(messages, "datetime", Now)
    monkeypatch.setattr(messages, "REPEAT_SECONDS", 0.0)
    sender = messenger(service, daily_summary_hour=9)
    for day, hour in ((24, 8), (24, 9), (24, 9), (24, 23), (25, 8), (25, 10), (25, 11)):
        Now.moment = datetime(2026, 11, day, hour, 30)
        sender.daily({"step": day * 100 + hour})
    sender.close()
    assert [(body["event"], body["facts"]["step"]) for _, _, body in service.requests] == [
        ("daily", 2409),
        ("daily", 2510),
    ]


def test_the_next_hour_is_later_than_now():
    assert next_hour(datetime(2026, 12, 31, 9, 0), 9) == datetime(2027, 1, 1, 9, 0)
    assert next_hour(datetime(2026, 12, 31, 8, 59), 9) == datetime(2026, 12, 31, 9, 0)


def test_without_addresses_nothing_is_sent(service):
    for sender in (
        Messenger(MessagesConfig(), "run", {}),
        Messenger(MessagesConfig(webhook="off"), "run", {messages.WEBHOOK: service.address}),
        Messenger(MessagesConfig(), "run", {messages.WEBHOOK: "not an address"}),
    ):
        sender.send("start", FACTS)
        sender.beat()
        sender.daily(FACTS)
        sender.close()
    assert service.requests == []


def test_problems_name_the_variable_and_not_its_value():
    assert list(message_problems(MessagesConfig(), {})) == []
    assert list(message_problems(MessagesConfig(webhook="slack"), {messages.WEBHOOK: "https://a.org/b"})) == []
    (problem,) = message_problems(MessagesConfig(webhook="slack"), {})
    assert "messages.webhook=slack" in problem
    assert messages.WEBHOOK in problem
    for variable in (messages.WEBHOOK, messages.HEARTBEAT):
        for value in (f"ftp://a.org/{SECRET}", SECRET, f"https:///{SECRET}", f"https://[{SECRET}"):
            (problem,) = message_problems(MessagesConfig(), {variable: value})
            assert variable in problem
            assert SECRET not in problem
