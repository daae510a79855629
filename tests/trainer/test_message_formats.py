"""What the chat services are sent, word for word."""

import base64
import hashlib
import hmac
from urllib.parse import parse_qs, urlsplit

from megatron_recipe.messages.formats import HOSTS, Answer, Webhook, cut, dingtalk_signature, feishu_signature, kind_of
from megatron_recipe.messages.texts import LABELS, TITLES, message_text


def test_the_kind_is_known_by_the_host():
    assert kind_of("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=1") == "wecom"
    assert kind_of("https://open.feishu.cn/open-apis/bot/v2/hook/1") == "feishu"
    assert kind_of("https://oapi.dingtalk.com/robot/send?access_token=1") == "dingtalk"
    assert kind_of("https://hooks.slack.com/services/T/B/X") == "slack"
    assert kind_of("https://example.org/?x=qyapi.weixin.qq.com") == "generic"
    assert set(HOSTS.values()) == {"wecom", "feishu", "dingtalk", "slack"}


def test_robots_with_a_key_get_signed_messages():
    request = Webhook("dingtalk", "https://oapi.dingtalk.com/robot/send?access_token=1", "SECkey").request(
        "run", "start", {}, "text"
    )
    query = parse_qs(urlsplit(request.address).query)
    wanted = hmac.new(b"SECkey", f"{query['timestamp'][0]}\nSECkey".encode(), hashlib.sha256).digest()
    assert base64.b64decode(query["sign"][0]) == wanted
    assert query["access_token"] == ["1"]
    body = (
        Webhook("feishu", "https://open.feishu.cn/open-apis/bot/v2/hook/1", "key").request("r", "start", {}, "t").body
    )
    assert body is not None
    assert body["sign"] == feishu_signature(body["timestamp"], "key")
    assert (
        feishu_signature("1599360473", "demo")
        == base64.b64encode(hmac.new(b"1599360473\ndemo", b"", hashlib.sha256).digest()).decode()
    )
    assert dingtalk_signature("1", "a") != feishu_signature("1", "a")


def test_long_texts_are_cut_between_characters():
    text = cut("检查点" * 1000)
    assert len(text.encode()) <= 2000
    assert text.endswith("点…") or text.endswith("检…") or text.endswith("查…")
    assert cut("short") == "short"


def test_both_languages_know_the_same_events():
    assert set(TITLES["en"]) == set(TITLES["zh"])
    assert set(LABELS["en"]) <= set(LABELS["zh"])
    assert message_text(
        "r", "end", {"seconds": 93_600, "eta_seconds": 59, "tokens": 10**9, "cost_so_far": 1234.5}, "en"
    ) == (
        "[megatron-recipe] r: training is done\ntime: 26:00 h\ntime left: 0:01 h\ntokens: 1,000,000,000\n"
        "cost so far: 1,234.50"
    )


def test_slack_says_ok_in_plain_text():
    webhook = Webhook("slack", "https://hooks.slack.com/services/T/B/X")
    assert webhook.judge(Answer(200, "ok")) is None
    refusal = webhook.judge(Answer(403, "invalid_token"))
    assert refusal is not None
    assert not refusal.is_passing
